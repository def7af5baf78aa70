// Writes zip files for tests, stored or deflated, with zlib.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace heed {

class ZipWriter {
 public:
  void add(const std::string& name, const std::string& bytes, bool deflated) {
    const std::string data = deflated ? deflate_raw(bytes) : bytes;
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
    std::string fields;  // version, flags, method, time, date, crc, sizes, lengths
    for (const uint32_t half : {20u, 0u, deflated ? 8u : 0u, 0u, 33u}) put(fields, half, 2);
    put(fields, crc, 4);
    put(fields, data.size(), 4);
    put(fields, bytes.size(), 4);
    put(fields, name.size(), 2);
    put(fields, 0, 2);

    std::string central;
    put(central, 0x02014b50, 4);
    put(central, 20, 2);
    central += fields;
    put(central, 0, 2);      // comment
    put(central, 0, 2);      // disk
    put(central, 0, 2 + 4);  // attributes
    put(central, out_.size(), 4);
    central += name;
    directory_ += central;
    ++count_;

    put(out_, 0x04034b50, 4);
    out_ += fields + name + data;
  }

  std::string finish() const {
    std::string out = out_ + directory_;
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, count_, 2);
    put(out, count_, 2);
    put(out, directory_.size(), 4);
    put(out, out_.size(), 4);
    put(out, 0, 2);
    return out;
  }

 private:
  static void put(std::string& out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  }

  static std::string deflate_raw(const std::string& bytes) {
    z_stream stream{};
    deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, bytes.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  }

  std::string out_;
  std::string directory_;
  uint32_t count_ = 0;
};

}  // namespace heed
