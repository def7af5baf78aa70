#include "model/gguf_parser.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/checked.h"
#include "base/text.h"

namespace heed {
namespace {

// Limits of the format where it has any, else far above every known model. The counts are also
// bounded by the bytes that remain, so a small file can never ask for much memory.
constexpr uint64_t kMaxKeyBytes = 65535;  // specification
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxAlignment = 1 << 16;
// The least bytes that a key (length, one letter, type, one byte) and a tensor (length, one letter,
// dimension count, one dimension, type, offset) take.
constexpr uint64_t kMinKeyBytes = 14;
constexpr uint64_t kMinTensorBytes = 33;

uint64_t element_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool: return 1;
    case GgufType::kUint16:
    case GgufType::kInt16: return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32: return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64: return 8;
    case GgufType::kString:
    case GgufType::kArray: return 0;  // not fixed
  }
  return 0;
}

Status corrupt(const auto&... parts) { return error(Code::kCorrupt, parts...); }

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 96)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return text.size() > 96 ? out + "..." : out;
}

template <class T>
Status GgufParser::read(T& out, std::string_view what) {
  if (remaining() < sizeof(T)) {
    return corrupt("the file ends at byte ", bytes_.size(), " inside ", what, " (byte ", at_, ")");
  }
  std::memcpy(&out, bytes_.data() + at_, sizeof(T));
  at_ += sizeof(T);
  return Status::ok();
}

Status GgufParser::skip(uint64_t bytes, std::string_view what) {
  if (remaining() < bytes) {
    return corrupt(what, " claims ", bytes, " bytes at byte ", at_, ", but ", remaining(),
                   " remain in the file");
  }
  at_ += bytes;
  return Status::ok();
}

Status GgufParser::read_text(std::string_view& out, uint64_t limit, std::string_view what) {
  uint64_t length = 0;
  HEED_TRY(read(length, what));
  if (length > limit) {
    return corrupt(what, " has length ", length, ", the limit is ", limit, " bytes");
  }
  const uint64_t begin = at_;
  HEED_TRY(skip(length, what));
  out = {reinterpret_cast<const char*>(bytes_.data() + begin), static_cast<size_t>(length)};
  return Status::ok();
}

Status GgufParser::parse() {
  uint64_t tensors = 0, keys = 0;
  HEED_TRY(parse_header(tensors, keys));
  // Exact reservations: growth by doubling would triple the peak while a bad file is refused.
  file_.keys_.reserve(keys);
  for (uint64_t i = 0; i < keys; ++i) HEED_TRY(parse_key(i));
  if (tensors > remaining() / kMinTensorBytes) {
    return corrupt("the header's tensor count ", tensors, " needs more than the ", remaining(),
                   " bytes behind the keys");
  }
  file_.tensors_.reserve(tensors);
  for (uint64_t i = 0; i < tensors; ++i) HEED_TRY(parse_tensor(i));
  HEED_TRY(index_names());
  return place_data();
}

Status GgufParser::parse_header(uint64_t& tensors, uint64_t& keys) {
  uint32_t magic = 0;
  HEED_TRY(read(magic, "the magic number"));
  if (magic != 0x46554747) {  // "GGUF"
    return error(Code::kInvalidArgument,
                 "not a GGUF file: it does not begin with the letters GGUF");
  }
  HEED_TRY(read(file_.version_, "the version"));
  if (file_.version_ != 0 && (file_.version_ & 0xFFFF) == 0) {
    return error(Code::kUnsupported, "the version reads ", file_.version_,
                 ": this is a big-endian GGUF file, which heed does not read");
  }
  if (file_.version_ != 2 && file_.version_ != 3) {
    return error(Code::kUnsupported, "GGUF version ", file_.version_,
                 " is not supported, only 2 and 3");
  }
  HEED_TRY(read(tensors, "the tensor count"));
  if (tensors > kMaxTensors) {
    return corrupt("the header's tensor count is ", tensors, ", the limit is ", kMaxTensors);
  }
  HEED_TRY(read(keys, "the key count"));
  if (keys > kMaxKeys) {
    return corrupt("the header's key count is ", keys, ", the limit is ", kMaxKeys);
  }
  if (keys > remaining() / kMinKeyBytes) {
    return corrupt("the header's key count ", keys, " needs more than the ", remaining(),
                   " bytes behind it");
  }
  return Status::ok();
}

Status GgufParser::parse_key(uint64_t index) {
  GgufKey key;
  HEED_TRY(read_text(key.name, kMaxKeyBytes, cat("the name of key ", index)));
  if (key.name.empty()) return corrupt("the name of key ", index, " is empty");
  // llama.cpp reads names as C strings: one with a zero byte would be another key there.
  if (key.name.find('\0') != std::string_view::npos) {
    return corrupt("the name of key ", index, " (", printable(key.name), ") holds a zero byte");
  }
  HEED_TRY(parse_value(key));
  key.bytes = static_cast<uint64_t>(bytes_.data() + at_ - key.data);
  file_.keys_.push_back(key);
  return Status::ok();
}

Status GgufParser::parse_value(GgufKey& key) {
  const std::string what = cat("key '", printable(key.name), "'");
  uint32_t type = 0;
  HEED_TRY(read(type, cat("the type of ", what)));
  if (type == static_cast<uint32_t>(GgufType::kArray)) {
    key.is_array = true;
    HEED_TRY(read(type, cat("the element type of ", what)));
    HEED_TRY(read(key.count, cat("the length of ", what)));
  }
  if (type > static_cast<uint32_t>(GgufType::kFloat64) ||
      type == static_cast<uint32_t>(GgufType::kArray)) {
    return corrupt(what, " has ", key.is_array ? "element " : "", "type ", type,
                   ", which GGUF does not define here (0 to 8, 10 to 12)");
  }
  key.type = static_cast<GgufType>(type);
  key.data = bytes_.data() + at_;
  if (key.type == GgufType::kString) {
    if (key.count > remaining() / 8) {
      return corrupt(what, " claims ", key.count, " strings, but ", remaining(), " bytes remain");
    }
    std::string_view ignored;
    for (uint64_t i = 0; i < key.count; ++i) {
      HEED_TRY(read_text(ignored, kMaxTextBytes,
                         key.is_array ? std::string_view("an element of a string array")
                                      : std::string_view("a string value"))
                   .with_context(what));
    }
    return Status::ok();
  }
  HEED_ASSIGN(const uint64_t bytes,
              checked_mul<uint64_t>(key.count, element_bytes(key.type), "bytes of an array"));
  return skip(bytes, what);
}

Status GgufParser::parse_tensor(uint64_t index) {
  GgufTensor tensor;
  HEED_TRY(read_text(tensor.name, GGML_MAX_NAME - 1, cat("the name of tensor ", index)));
  if (tensor.name.empty() || tensor.name.find('\0') != std::string_view::npos) {
    return corrupt("the name of tensor ", index, " is empty or holds a zero byte");
  }
  HEED_TRY(parse_shape(tensor).with_context(cat("tensor '", printable(tensor.name), "'")));
  file_.tensors_.push_back(tensor);
  return Status::ok();
}

Status GgufParser::parse_shape(GgufTensor& tensor) {
  uint32_t dims = 0;
  HEED_TRY(read(dims, "the dimension count"));
  if (dims < 1 || dims > 4) return corrupt("has ", dims, " dimensions, must be 1 to 4");
  tensor.dims = static_cast<int>(dims);
  uint64_t elements = 1;
  for (uint32_t d = 0; d < dims; ++d) {
    uint64_t n = 0;
    HEED_TRY(read(n, "a dimension"));
    if (n < 1 || n > static_cast<uint64_t>(INT64_MAX)) {
      return corrupt("dimension ", d, " is ", n, ", must be 1 to 2^63 - 1");
    }
    HEED_ASSIGN(elements, checked_mul<uint64_t>(elements, n, "the element count"));
    tensor.ne[d] = static_cast<int64_t>(n);
  }
  uint32_t type = 0;
  HEED_TRY(read(type, "the type"));
  const bool known = type < GGML_TYPE_COUNT && ggml_blck_size(static_cast<ggml_type>(type)) > 0 &&
                     ggml_type_size(static_cast<ggml_type>(type)) > 0;
  if (!known) {
    return error(Code::kUnsupported, "type ", type, " is not one that this build of ggml knows");
  }
  tensor.type = static_cast<ggml_type>(type);
  const auto block = static_cast<uint64_t>(ggml_blck_size(tensor.type));
  if (static_cast<uint64_t>(tensor.ne[0]) % block != 0) {
    return corrupt("rows of ", tensor.ne[0], " elements are not whole blocks of ", block, " (",
                   ggml_type_name(tensor.type), ")");
  }
  HEED_ASSIGN(tensor.bytes, checked_mul<uint64_t>(elements / block, ggml_type_size(tensor.type),
                                                  "the size in bytes"));
  if (tensor.bytes > bytes_.size()) {
    return corrupt("shape ", tensor.shape(), " of ", ggml_type_name(tensor.type), " is ",
                   tensor.bytes, " bytes, but the file has ", bytes_.size());
  }
  return read(tensor.offset, "the offset");
}

Status GgufParser::index_names() {
  const auto sorted = [](const auto& entries) {
    std::vector<uint32_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return entries[a].name < entries[b].name; });
    return order;
  };
  const auto check_unique = [](const auto& entries, const auto& order, const char* kind) {
    for (size_t i = 1; i < order.size(); ++i) {
      if (entries[order[i - 1]].name == entries[order[i]].name) {
        return corrupt(kind, " '", printable(entries[order[i]].name), "' appears twice");
      }
    }
    return Status::ok();
  };
  file_.keys_by_name_ = sorted(file_.keys_);
  file_.tensors_by_name_ = sorted(file_.tensors_);
  HEED_TRY(check_unique(file_.keys_, file_.keys_by_name_, "key"));
  return check_unique(file_.tensors_, file_.tensors_by_name_, "tensor");
}

Status GgufParser::place_data() {
  if (const GgufKey* key = file_.find("general.alignment")) {
    if (key->type != GgufType::kUint32 || key->is_array) {
      return corrupt("key 'general.alignment' must be a uint32, it is ",
                     gguf_type_text(key->is_array ? GgufType::kArray : key->type));
    }
    uint32_t value = 0;
    std::memcpy(&value, key->data, sizeof(value));
    alignment_ = value;
    if (alignment_ < 8 || alignment_ > kMaxAlignment || (alignment_ & (alignment_ - 1)) != 0) {
      return corrupt("key 'general.alignment' is ", alignment_,
                     ", must be a power of two from 8 to ", kMaxAlignment);
    }
  }
  file_.data_offset_ = (at_ + alignment_ - 1) / alignment_ * alignment_;
  if (file_.tensors_.empty()) return Status::ok();
  for (GgufTensor& tensor : file_.tensors_) {
    const std::string what = cat("tensor '", printable(tensor.name), "'");
    if (tensor.offset % alignment_ != 0) {
      return corrupt(what, " has offset ", tensor.offset, ", not a multiple of the alignment ",
                     alignment_);
    }
    HEED_ASSIGN(uint64_t end, checked_add<uint64_t>(file_.data_offset_, tensor.offset, "offset"));
    HEED_ASSIGN(end, checked_add<uint64_t>(end, tensor.bytes, "end"));
    if (end > bytes_.size()) {
      return corrupt(what, " ends at byte ", end, ", but the file ends at ", bytes_.size(),
                     ": it is truncated or its offset is wrong");
    }
    tensor.section = bytes_.data() + file_.data_offset_;
  }
  return check_overlap();
}

Status GgufParser::check_overlap() const {
  const std::vector<GgufTensor>& tensors = file_.tensors_;
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return tensors[a].offset < tensors[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& low = tensors[order[i - 1]];
    const GgufTensor& high = tensors[order[i]];
    if (low.offset + low.bytes > high.offset) {
      return corrupt("tensors '", printable(low.name), "' and '", printable(high.name),
                     "' overlap at data offset ", high.offset);
    }
  }
  return Status::ok();
}

}  // namespace heed
