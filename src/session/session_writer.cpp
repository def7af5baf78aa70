// Writing a session file: pages go to the system from where they lie, many in one call.
#include <algorithm>
#include <climits>
#include <cstring>

#include "base/guard.h"
#include "session/session_file.h"

namespace heed {
namespace {

template <class T>
void put(std::vector<uint8_t>& out, const T& value) {
  const size_t at = out.size();
  out.resize(at + sizeof(T));
  std::memcpy(out.data() + at, &value, sizeof(T));
}

size_t pages_of(const kv::ListOutline& list) { return static_cast<size_t>(pages_for(list.slots)); }

std::vector<uint8_t> encode(const Store& store, const kv::SequenceOutline& outline) {
  std::vector<uint8_t> out;
  put(out, outline.first_position);
  put(out, outline.length);
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    const kv::ListOutline& list = outline.lists[i];
    put(out, ListRecord{list.slots, list.side, kv::page_bytes(store, i)});
  }
  return out;
}

std::vector<uint8_t> side_arrays(const kv::SequenceReader& reader,
                                 const kv::SequenceOutline& outline) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    for (const SideArray kind : kv::kSideArrays) {
      if (!outline.lists[i].has(kind)) continue;
      const auto bytes = reader.side(i, kind);
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
  }
  return out;
}

// Pages in the order of the file, their sums made on the way.
class PageWriter {
 public:
  PageWriter(NewFile& file, uint64_t offset, std::vector<Hash128>& sums)
      : file_(file), offset_(offset), sums_(sums) {
    pieces_.reserve(kMost);
  }

  Status add(std::span<const uint8_t> page) {
    sums_.push_back(block_hash(page.data(), page.size(), kPages));
    pieces_.push_back({const_cast<uint8_t*>(page.data()), page.size()});
    bytes_ += page.size();
    return pieces_.size() < kMost ? Status::ok() : flush();
  }

  Status flush() {
    HEED_TRY(file_.write(offset_, pieces_));
    offset_ += bytes_;
    bytes_ = 0;
    pieces_.clear();
    return Status::ok();
  }

 private:
  static constexpr size_t kMost = 256;  // 4 MiB where a page has 16 KiB
  NewFile& file_;
  uint64_t offset_, bytes_ = 0;
  std::vector<Hash128>& sums_;
  std::vector<iovec> pieces_;
};

Status write_pages(NewFile& file, uint64_t offset, const kv::SequenceReader& reader,
                   const kv::SequenceOutline& outline, std::vector<Hash128>& sums) {
  PageWriter writer(file, offset, sums);
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    for (size_t p = 0; p < pages_of(outline.lists[i]); ++p) HEED_TRY(writer.add(reader.page(i, p)));
  }
  return writer.flush();
}

}  // namespace

Result<uint64_t> write_session(const std::string& path, const Store& store, SeqId seq,
                               const SessionContent& content, const WriteFaults* faults) {
  HEED_ASSIGN(const auto reader, kv::SequenceReader::open(store, seq));
  const kv::SequenceOutline outline = reader.outline();
  const std::vector<uint8_t> lists = encode(store, outline), sides = side_arrays(reader, outline);
  SessionHeader header;
  size_t pages = 0;
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    pages += pages_of(outline.lists[i]);
    header.size[kPages] += pages_of(outline.lists[i]) * kv::page_bytes(store, i);
  }
  std::vector<Hash128> sums;
  sums.reserve(pages);
  const struct {
    SessionSection section;
    const void* data;
    size_t size;
  } sections[] = {{kKvText, content.kv.data(), content.kv.size()},
                  {kTokens, content.tokens.data(), content.tokens.size_bytes()},
                  {kOutline, lists.data(), lists.size()},
                  {kSideArrays, sides.data(), sides.size()},
                  {kLogits, content.logits.data(), content.logits.size_bytes()},
                  {kPageSums, sums.data(), pages * sizeof(Hash128)}};
  for (const auto& s : sections) header.size[s.section] = s.size;

  HEED_ASSIGN(const auto file, NewFile::create(path, header.file_bytes(), faults));
  HEED_TRY(write_pages(*file, header.offset_of(kPages), reader, outline, sums));
  for (const auto& s : sections) {
    header.sum[s.section] = block_hash(s.data, s.size, s.section);
    HEED_TRY(file->write(header.offset_of(s.section), s.data, s.size));
  }
  header.own = header.own_sum();
  HEED_TRY(file->write(0, &header, sizeof(header)));
  HEED_TRY(file->commit());
  return header.file_bytes();
}

}  // namespace heed
