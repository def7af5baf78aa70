// A GGUF file as heed sees it: keys and tensors, every field checked against the bytes that are
// really there. Heed walks the header itself instead of calling ggml's reader: that one logs where
// heed must name the field, copies string arrays at eight times their size in the file, and its
// getters abort on a type they do not expect. The walk allocates nothing that is not bounded by the
// file's size, and copies no strings.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"
#include "model/mapped_file.h"

namespace heed {

// Numbers of the GGUF specification.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
const char* gguf_type_text(GgufType type);  // "uint32", ...

struct GgufKey {
  std::string_view name;
  GgufType type = GgufType::kUint8;  // of the value, or of an array's elements
  bool is_array = false;
  uint64_t count = 1;             // elements
  const uint8_t* data = nullptr;  // first element; strings are {u64 length, bytes}
  uint64_t bytes = 0;             // of all elements

  bool same_value(const GgufKey& other) const;
};

struct GgufTensor {
  std::string_view name;
  ggml_type type = GGML_TYPE_F32;
  int dims = 0;
  int64_t ne[4] = {1, 1, 1, 1};      // ne[0] varies fastest, as in ggml
  const uint8_t* section = nullptr;  // its file's data
  uint64_t offset = 0;               // from there
  uint64_t bytes = 0;

  std::string shape() const;  // "576 x 1536"
  int64_t elements() const { return ne[0] * ne[1] * ne[2] * ne[3]; }
};

class GgufFile {
 public:
  // One file; of a split model, that part alone (split_set.h has the whole).
  static Result<std::unique_ptr<GgufFile>> open(const std::string& path,
                                                FileAccess access = FileAccess::kMap);
  // Over bytes that outlive it; `name` stands for the path in messages.
  static Result<std::unique_ptr<GgufFile>> from_bytes(std::span<const uint8_t> bytes,
                                                      const std::string& name);

  // Takes over the tensors of a later part of the same model; its keys are gone. Errors: a tensor
  // that is there already.
  Status append(std::unique_ptr<GgufFile> part);

  const std::string& path() const { return path_; }      // of the first part
  std::vector<std::string> paths() const;                // of all parts, in order
  uint64_t size() const { return size_; }                // of all parts
  uint64_t data_offset() const { return data_offset_; }  // in the first part
  // Else every byte of it is in memory of its own.
  bool mapped() const;
  void prefetch() const;
  // Of bytes that data() points to; see mapped_file.h.
  void release(const uint8_t* data, size_t bytes) const;
  void looked_up(const uint8_t* data, size_t bytes) const;
  Status unchanged() const;
  // Of every part, in order; none for bytes of a caller.
  const std::vector<std::unique_ptr<MappedFile>>& files() const { return files_; }

  const std::vector<GgufKey>& keys() const { return keys_; }
  const GgufKey* find(std::string_view key) const;  // null when absent
  // Any integer width; a bool counts as 0 or 1; a float must be whole. Absent: `fallback`, or an
  // error without one.
  Result<int64_t> integer(std::string_view key, std::optional<int64_t> fallback = {}) const;
  // Element `index` of an array, or the scalar itself for every index.
  Result<int64_t> integer_at(std::string_view key, uint64_t index,
                             std::optional<int64_t> fallback = {}) const;
  Result<double> number(std::string_view key, std::optional<double> fallback = {}) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> fallback = {}) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  static const uint8_t* data(const GgufTensor& tensor) { return tensor.section + tensor.offset; }

 private:
  friend class GgufParser;
  GgufFile() = default;

  const MappedFile* file_of(const uint8_t* data) const;  // null: bytes of a caller

  std::string path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  uint64_t size_ = 0;
  uint32_t version_ = 0;
  uint64_t data_offset_ = 0;
  std::vector<GgufKey> keys_;
  std::vector<GgufTensor> tensors_;
  std::vector<uint32_t> keys_by_name_;  // sorted indices
  std::vector<uint32_t> tensors_by_name_;
};

// The elements of a string array, walked from the front. The parser has checked every length.
class GgufStrings {
 public:
  explicit GgufStrings(const GgufKey& key) : at_(key.data), left_(key.count) {}
  bool next(std::string_view& text);

 private:
  const uint8_t* at_;
  uint64_t left_;
};

}  // namespace heed
