// One pass over a GGUF header with a cursor that knows how many bytes remain.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/gguf_file.h"

namespace heed {

// Names from a file go into messages: without control bytes, which must not reach a terminal, and
// cut to 96 bytes.
std::string printable(std::string_view text);

class GgufParser {
 public:
  GgufParser(std::span<const uint8_t> bytes, GgufFile& file) : bytes_(bytes), file_(file) {}
  Status parse();

 private:
  template <class T>
  Status read(T& out, std::string_view what);
  Status read_text(std::string_view& out, uint64_t limit, std::string_view what);
  Status skip(uint64_t bytes, std::string_view what);

  Status parse_header(uint64_t& tensors, uint64_t& keys);
  Status parse_key(uint64_t index);
  Status parse_value(GgufKey& key);
  Status parse_tensor(uint64_t index);
  Status parse_shape(GgufTensor& tensor);
  Status index_names();
  Status place_data();
  Status check_overlap() const;

  uint64_t remaining() const { return bytes_.size() - at_; }

  std::span<const uint8_t> bytes_;
  GgufFile& file_;
  uint64_t at_ = 0;
  uint64_t alignment_ = 32;
};

}  // namespace heed
