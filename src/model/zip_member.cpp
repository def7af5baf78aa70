#include "model/zip_member.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace heed {
namespace {

// Record layouts: APPNOTE.TXT of PKWARE, version 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr size_t kEndSize = 22;
constexpr size_t kCentralSize = 46;
constexpr size_t kLocalSize = 30;
constexpr size_t kLongestComment = 65535;
constexpr uint64_t kLargestDirectory = 64u << 20;  // a wheel's holds kilobytes
constexpr size_t kPiece = 1 << 20;

uint32_t little16(const uint8_t* p) { return p[0] | uint32_t{p[1]} << 8; }
uint32_t little32(const uint8_t* p) { return little16(p) | little16(p + 2) << 16; }

struct Member {
  uint32_t flags, method, crc;
  uint64_t packed, size, header;  // bytes, bytes, offset of the local header
};

class ZipFile {
 public:
  static Result<ZipFile> open(const std::string& path) {
    ZipFile zip;
    zip.path_ = path;
    zip.file_.reset(std::fopen(path.c_str(), "rb"));
    if (!zip.file_ || fseeko(zip.file_.get(), 0, SEEK_END) != 0) {
      return error(Code::kIo, path, ": cannot be read");
    }
    zip.size_ = static_cast<uint64_t>(ftello(zip.file_.get()));
    return zip;
  }

  Status corrupt(std::string_view what) const {
    return error(Code::kCorrupt, path_, ": ", what, "; delete it and pull again");
  }

  Status read(uint64_t offset, uint8_t* out, size_t size) const {
    if (offset > size_ || size > size_ - offset) return corrupt("a record lies behind its end");
    if (fseeko(file_.get(), static_cast<off_t>(offset), SEEK_SET) != 0 ||
        std::fread(out, 1, size, file_.get()) != size) {
      return error(Code::kIo, path_, ": reading ", size, " bytes at ", offset, " failed");
    }
    return Status::ok();
  }

  Result<Member> find(std::string_view name) const {
    HEED_ASSIGN(const std::vector<uint8_t> directory, central_directory());
    for (size_t at = 0; at + kCentralSize <= directory.size();) {
      const uint8_t* record = directory.data() + at;
      if (little32(record) != kCentralSignature) return corrupt("its directory is damaged");
      const size_t name_size = little16(record + 28);
      const size_t length =
          kCentralSize + name_size + little16(record + 30) + little16(record + 32);
      if (length > directory.size() - at) return corrupt("its directory is cut off");
      const auto* text = reinterpret_cast<const char*>(record + kCentralSize);
      if (std::string_view(text, name_size) == name) {
        return Member{little16(record + 8),  little16(record + 10), little32(record + 16),
                      little32(record + 20), little32(record + 24), little32(record + 42)};
      }
      at += length;
    }
    return error(Code::kNotFound, path_, ": holds no ", name);
  }

  // Offset of the member's bytes: behind its local header, whose own lengths count here.
  Result<uint64_t> data_offset(const Member& member) const {
    uint8_t local[kLocalSize];
    HEED_TRY(read(member.header, local, kLocalSize));
    if (little32(local) != kLocalSignature) return corrupt("a local header is damaged");
    const uint64_t begin = member.header + kLocalSize + little16(local + 26) + little16(local + 28);
    if (begin > size_ || member.packed > size_ - begin) return corrupt("a member is cut off");
    return begin;
  }

  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  Result<std::vector<uint8_t>> central_directory() const {
    if (size_ < kEndSize) return corrupt("too short for a zip file");
    std::vector<uint8_t> tail(std::min<uint64_t>(size_, kEndSize + kLongestComment));
    HEED_TRY(read(size_ - tail.size(), tail.data(), tail.size()));
    size_t at = tail.size() - kEndSize;
    while (little32(&tail[at]) != kEndSignature) {
      if (at == 0) return corrupt("not a zip file, or cut off");
      --at;
    }
    const uint64_t size = little32(&tail[at + 12]);
    const uint64_t offset = little32(&tail[at + 16]);
    if (offset == UINT32_MAX || size == UINT32_MAX) {
      return error(Code::kUnsupported, path_, ": a zip64 archive; heed reads zip up to 4 GiB");
    }
    if (size > kLargestDirectory || offset > size_ || size > size_ - offset) {
      return corrupt("its directory lies behind its end");
    }
    std::vector<uint8_t> directory(size);
    HEED_TRY(read(offset, directory.data(), directory.size()));
    return directory;
  }

  std::unique_ptr<std::FILE, Close> file_;
  std::string path_;
  uint64_t size_ = 0;
};

// Counts and checks what leaves the archive, so that neither a bomb nor a cut goes unnoticed.
class Checked {
 public:
  Checked(const ZipFile& zip, const Member& member, const ByteSink& sink)
      : zip_(zip), member_(member), sink_(sink) {}

  Status put(const uint8_t* data, size_t size) {
    if (size > member_.size - done_) return zip_.corrupt("a member is longer than declared");
    done_ += size;
    crc_ = static_cast<uint32_t>(crc32(crc_, data, static_cast<uInt>(size)));
    return sink_(data, size);
  }

  Status finish() const {
    if (done_ != member_.size) return zip_.corrupt("a member is shorter than declared");
    if (crc_ != member_.crc) return zip_.corrupt("a member's CRC-32 differs");
    return Status::ok();
  }

 private:
  const ZipFile& zip_;
  const Member& member_;
  const ByteSink& sink_;
  uint64_t done_ = 0;
  uint32_t crc_ = 0;
};

Status copy_stored(const ZipFile& zip, uint64_t begin, uint64_t size, Checked& out) {
  std::vector<uint8_t> piece(kPiece);
  for (uint64_t done = 0; done < size;) {
    const size_t now = std::min<uint64_t>(piece.size(), size - done);
    HEED_TRY(zip.read(begin + done, piece.data(), now));
    HEED_TRY(out.put(piece.data(), now));
    done += now;
  }
  return out.finish();
}

Status inflate_member(const ZipFile& zip, uint64_t begin, uint64_t packed, Checked& out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    return error(Code::kResourceExhausted, "zlib could not allocate its window (32 KiB)");
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  std::vector<uint8_t> in(kPiece);
  std::vector<uint8_t> piece(kPiece);
  int code = Z_OK;
  for (uint64_t done = 0; code != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const size_t now = std::min<uint64_t>(in.size(), packed - done);
      if (now == 0) return zip.corrupt("a compressed member is cut off");
      HEED_TRY(zip.read(begin + done, in.data(), now));
      done += now;
      stream.next_in = in.data();
      stream.avail_in = static_cast<uInt>(now);
    }
    stream.next_out = piece.data();
    stream.avail_out = static_cast<uInt>(piece.size());
    code = inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      return zip.corrupt("a compressed member is damaged");
    }
    HEED_TRY(out.put(piece.data(), piece.size() - stream.avail_out));
  }
  return out.finish();
}

}  // namespace

Status read_zip_member(const std::string& path, const std::string& member, const ByteSink& sink) {
  HEED_ASSIGN(const ZipFile zip, ZipFile::open(path));
  HEED_ASSIGN(const Member found, zip.find(member));
  if ((found.flags & 1) != 0) {
    return error(Code::kUnsupported, path, ": ", member, " is encrypted");
  }
  if (found.size == UINT32_MAX || found.packed == UINT32_MAX || found.header == UINT32_MAX) {
    return error(Code::kUnsupported, path, ": ", member, " needs zip64; heed reads up to 4 GiB");
  }
  HEED_ASSIGN(const uint64_t begin, zip.data_offset(found));
  Checked out(zip, found, sink);
  constexpr uint32_t kStored = 0;
  constexpr uint32_t kDeflated = 8;
  if (found.method == kStored) {
    if (found.packed != found.size) return zip.corrupt("a stored member has two sizes");
    return copy_stored(zip, begin, found.size, out);
  }
  if (found.method == kDeflated) return inflate_member(zip, begin, found.packed, out);
  return error(Code::kUnsupported, path, ": ", member, " uses compression method ", found.method,
               "; stored (0) and deflate (8) are read");
}

}  // namespace heed
