// Reading a session file: nothing in it is believed before its checksum and its limits agree.
#include "session/session_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <limits>

#include "base/guard.h"
#include "base/io_pieces.h"
#include "base/text.h"

namespace heed {

static_assert(std::endian::native == std::endian::little, "session files are little-endian");

namespace {

constexpr uint64_t kMostText = 1 << 20;
// A section up to this size takes memory before its checksum is known to agree.
constexpr size_t kSmall = 1 << 20;
constexpr const char* kSectionNames[] = {"kv text", "tokens",    "lists", "side arrays",
                                         "logits",  "page sums", "pages"};

template <class T>
std::vector<T> elements(std::span<const uint8_t> bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

}  // namespace

uint64_t SessionHeader::offset_of(SessionSection section) const {
  uint64_t at = sizeof(SessionHeader);
  for (int s = 0; s < section; ++s) {
    if (__builtin_add_overflow(at, size[static_cast<size_t>(s)], &at)) return ~uint64_t{0};
  }
  return at;
}

uint64_t SessionHeader::file_bytes() const { return offset_of(kSessionSections); }

Hash128 SessionHeader::own_sum() const {
  return block_hash(this, offsetof(SessionHeader, own), kSessionSections);
}

Status SessionFile::corrupt(const std::string& what) const {
  return error(Code::kCorrupt, "session ", name_, ": ", what, kSessionWayOut);
}

SessionFile::~SessionFile() {
  if (owns_) ::close(fd_);
}

Result<std::unique_ptr<SessionFile>> SessionFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const Code code = errno == ENOENT ? Code::kNotFound : Code::kIo;
    return error(code, "session ", path, ": cannot be opened: ", std::strerror(errno));
  }
  auto file = guarded("opening a session", [&] { return from(fd, path); });
  if (file.is_ok()) {
    (*file)->owns_ = true;
  } else {
    ::close(fd);
  }
  return file;
}

Result<std::unique_ptr<SessionFile>> SessionFile::from(int fd, const std::string& name) {
  std::unique_ptr<SessionFile> file(new SessionFile(fd, name));
  HEED_TRY(file->read_header());
  HEED_TRY(file->read_sections());
  return file;
}

Status SessionFile::read(uint64_t offset, std::span<iovec> pieces) const {
  for (pieces = behind(pieces, 0); !pieces.empty();) {
    const auto count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
    const ssize_t n = ::preadv(fd_, pieces.data(), count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return error(Code::kIo, "session ", name_, ": reading failed: ", std::strerror(errno));
    }
    if (n == 0) return corrupt(cat("ends at byte ", offset, ": it was cut while it was read"));
    offset += static_cast<uint64_t>(n);
    pieces = behind(pieces, static_cast<size_t>(n));
  }
  return Status::ok();
}

Status SessionFile::read_header() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    return error(Code::kIo, "session ", name_, ": fstat failed: ", std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return error(Code::kInvalidArgument, "session ", name_, ": is no regular file; name another");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  iovec piece{&header_, std::min<size_t>(size, sizeof(header_))};
  HEED_TRY(read(0, {&piece, 1}));
  // Also of a file that is shorter: what is there must not be taken for a session that was cut.
  if (!std::equal(kSessionMagic.begin(), kSessionMagic.end(), header_.magic.begin())) {
    return error(Code::kInvalidArgument, "session ", name_,
                 ": is no session of heed; name another");
  }
  if (size < sizeof(header_)) {
    return corrupt(cat("has ", size, " bytes, a session at least ", sizeof(header_)));
  }
  // Before the checksum, which another version may have elsewhere.
  if (header_.version != kSessionVersion || header_.bytes != sizeof(header_)) {
    return error(Code::kUnsupported, "session ", name_, ": has file version ", header_.version,
                 " with a header of ", header_.bytes, " bytes, this heed reads version ",
                 kSessionVersion, " with ", sizeof(header_), kSessionWayOut);
  }
  if (header_.own != header_.own_sum()) return corrupt("its header is damaged");
  if (header_.file_bytes() != size) {
    return corrupt(cat("has ", size, " bytes and should have ", header_.file_bytes()));
  }
  return Status::ok();
}

// The sizes add up to those of the file, which need not take that much of a disk.
Status SessionFile::check_large(SessionSection section) const {
  const uint64_t size = header_.size[section];
  if (size <= kSmall) return Status::ok();
  std::vector<uint8_t> bytes(kSmall);
  BlockHash hash(section);
  for (uint64_t at = 0; at < size; at += kSmall) {
    const auto n = static_cast<size_t>(std::min<uint64_t>(size - at, kSmall));
    iovec piece{bytes.data(), n};
    HEED_TRY(read(header_.offset_of(section) + at, {&piece, 1}));
    hash.update(bytes.data(), n);
  }
  if (hash.finish() == header_.sum[section]) return Status::ok();
  return corrupt(cat("its ", kSectionNames[section], " are damaged"));
}

Result<std::vector<uint8_t>> SessionFile::read_section(SessionSection section) const {
  HEED_TRY(check_large(section));
  std::vector<uint8_t> bytes(header_.size[section]);
  iovec piece{bytes.data(), bytes.size()};
  HEED_TRY(read(header_.offset_of(section), {&piece, 1}));
  if (block_hash(bytes.data(), bytes.size(), section) != header_.sum[section]) {
    return corrupt(cat("its ", kSectionNames[section], " are damaged"));
  }
  return bytes;
}

Status SessionFile::read_sections() {
  if (header_.size[kKvText] > kMostText) {
    return corrupt(cat("its kv text has ", header_.size[kKvText], " bytes of at most ", kMostText));
  }
  HEED_ASSIGN(const auto text, read_section(kKvText));
  kv_.assign(text.begin(), text.end());
  HEED_ASSIGN(const auto tokens, read_section(kTokens));
  tokens_ = elements<Token>(tokens);
  HEED_ASSIGN(const auto logits, read_section(kLogits));
  logits_ = elements<float>(logits);
  HEED_ASSIGN(sides_, read_section(kSideArrays));
  HEED_ASSIGN(const auto sums, read_section(kPageSums));
  page_sums_ = elements<Hash128>(sums);
  if (tokens.size() % sizeof(Token) + logits.size() % sizeof(float) +
          sums.size() % sizeof(Hash128) !=
      0) {
    return corrupt("a section ends within an element");
  }
  HEED_ASSIGN(const auto lists, read_section(kOutline));
  return take_outline(lists);
}

Status SessionFile::take_outline(std::span<const uint8_t> bytes) {
  constexpr size_t kFixed = 2 * sizeof(int64_t);
  if (bytes.size() < kFixed || (bytes.size() - kFixed) % sizeof(ListRecord) != 0) {
    return corrupt(cat("its lists take ", bytes.size(), " bytes"));
  }
  std::memcpy(&outline_.first_position, bytes.data(), sizeof(int64_t));
  std::memcpy(&outline_.length, bytes.data() + sizeof(int64_t), sizeof(int64_t));
  const auto records = elements<ListRecord>(bytes.subspan(kFixed));
  uint64_t pages = 0, page_bytes = 0, side_bytes = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    const ListRecord& r = records[i];
    if (r.slots < 0 || r.side > std::numeric_limits<uint8_t>::max()) {
      return corrupt(cat("list ", i, " has ", r.slots, " slots and side arrays ", r.side));
    }
    outline_.lists.push_back({r.slots, static_cast<uint8_t>(r.side)});
    page_bytes_.push_back(r.page_bytes);
    const auto n = static_cast<uint64_t>(pages_for(r.slots));
    pages += n;
    uint64_t of_list = 0;
    if (__builtin_mul_overflow(n, r.page_bytes, &of_list) ||
        __builtin_add_overflow(page_bytes, of_list, &page_bytes)) {
      return corrupt(cat("list ", i, " has pages of ", r.page_bytes, " bytes"));
    }
    for (const SideArray kind : kv::kSideArrays) {
      if (outline_.lists[i].has(kind)) {
        side_bytes += kv::side_bytes(kind, static_cast<int64_t>(n));
      }
    }
  }
  const bool whole = static_cast<uint64_t>(std::max<int64_t>(outline_.length, 0)) == tokens_.size();
  if (outline_.first_position != 0 || !whole || pages != page_sums_.size() ||
      page_bytes != header_.size[kPages] || side_bytes != sides_.size()) {
    return corrupt(cat("its sections contradict each other: ", outline_.length, " tokens, ",
                       tokens_.size(), " of them listed, ", pages, " pages, ", page_sums_.size(),
                       " of them summed"));
  }
  return Status::ok();
}

Status SessionFile::check_store(const Store& store) const {
  if (outline_.lists.size() != kv::lists_of(store)) {
    return corrupt(cat("has ", outline_.lists.size(), " lists, the model ", kv::lists_of(store)));
  }
  for (size_t i = 0; i < page_bytes_.size(); ++i) {
    if (page_bytes_[i] != kv::page_bytes(store, i)) {
      return corrupt(cat("list ", i, " has pages of ", page_bytes_[i], " bytes, the model of ",
                         kv::page_bytes(store, i)));
    }
  }
  return Status::ok();
}

Status SessionFile::read_pages(kv::SequenceBuilder& builder, const kv::SequenceOutline& wanted,
                               const CancelToken* cancel) const {
  constexpr size_t kMost = 256;  // pages of one read: 4 MiB where a page has 16 KiB
  std::vector<iovec> pieces;
  pieces.reserve(kMost);
  uint64_t offset = header_.offset_of(kPages);
  size_t first = 0;  // page of the file with which a list begins
  for (size_t i = 0; i < wanted.lists.size(); ++i) {
    const auto in_file = static_cast<size_t>(pages_for(outline_.lists[i].slots));
    const auto n = static_cast<size_t>(pages_for(wanted.lists[i].slots));
    for (size_t p = 0; p < n; p += kMost) {
      if (cancel != nullptr && cancel->cancelled()) {
        return error(Code::kCancelled, "session ", name_, ": restoring was cancelled");
      }
      const size_t end = std::min(n, p + kMost);
      pieces.clear();
      for (size_t q = p; q < end; ++q) {
        const std::span<uint8_t> page = builder.page(i, q);
        pieces.push_back({page.data(), page.size()});
      }
      HEED_TRY(read(offset + p * page_bytes_[i], pieces));
      for (size_t q = p; q < end; ++q) {
        const std::span<uint8_t> page = builder.page(i, q);
        if (block_hash(page.data(), page.size(), kPages) != page_sums_[first + q]) {
          return corrupt(cat("page ", q, " of list ", i, " is damaged"));
        }
      }
    }
    offset += in_file * page_bytes_[i];
    first += in_file;
  }
  return Status::ok();
}

Result<SeqId> SessionFile::restore(Store& store, int64_t n, const CancelToken* cancel) const {
  HEED_TRY(check_store(store));
  kv::SequenceOutline wanted = outline_;
  if (wanted.contiguous() && n < wanted.length) wanted.cut(n);
  Result<std::unique_ptr<kv::SequenceBuilder>> builder = kv::SequenceBuilder::begin(store, wanted);
  if (!builder.is_ok()) return builder.status().with_context(cat("session ", name_));
  HEED_TRY(read_pages(**builder, wanted, cancel));
  const uint8_t* from = sides_.data();
  for (size_t i = 0; i < wanted.lists.size(); ++i) {
    for (const SideArray kind : kv::kSideArrays) {
      if (!wanted.lists[i].has(kind)) continue;
      const std::span<uint8_t> side = (*builder)->side(i, kind);
      if (!side.empty()) std::memcpy(side.data(), from, side.size());
      from += kv::side_bytes(kind, pages_for(outline_.lists[i].slots));
    }
  }
  Result<SeqId> seq = (*builder)->finish();
  if (!seq.is_ok()) return seq.status().with_context(cat("session ", name_));
  return *seq;
}

}  // namespace heed
