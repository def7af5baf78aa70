#include "model/gguf_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/text.h"
#include "model/gguf_parser.h"

namespace heed {
namespace {

template <class T>
T load(const uint8_t* data, uint64_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return value;
}

std::string kind(const GgufKey& key) {
  return key.is_array ? cat("an array of ", key.count, " ", gguf_type_text(key.type))
                      : cat("a ", gguf_type_text(key.type));
}

// Element `index` of a numeric key as a double: exact below 2^53, far above every limit heed has.
Result<double> element(const GgufKey& key, uint64_t index) {
  switch (key.type) {
    case GgufType::kUint8: return static_cast<double>(load<uint8_t>(key.data, index));
    case GgufType::kInt8: return static_cast<double>(load<int8_t>(key.data, index));
    case GgufType::kBool: return load<uint8_t>(key.data, index) != 0 ? 1.0 : 0.0;
    case GgufType::kUint16: return static_cast<double>(load<uint16_t>(key.data, index));
    case GgufType::kInt16: return static_cast<double>(load<int16_t>(key.data, index));
    case GgufType::kUint32: return static_cast<double>(load<uint32_t>(key.data, index));
    case GgufType::kInt32: return static_cast<double>(load<int32_t>(key.data, index));
    case GgufType::kUint64: return static_cast<double>(load<uint64_t>(key.data, index));
    case GgufType::kInt64: return static_cast<double>(load<int64_t>(key.data, index));
    case GgufType::kFloat32: return static_cast<double>(load<float>(key.data, index));
    case GgufType::kFloat64: return load<double>(key.data, index);
    case GgufType::kString:
    case GgufType::kArray: break;
  }
  return error(Code::kCorrupt, "key '", key.name, "' is ", kind(key), ", a number is needed");
}

Result<int64_t> whole(const GgufKey& key, uint64_t index) {
  HEED_ASSIGN(const double value, element(key, index));
  if (!(std::fabs(value) <= 9007199254740992.0) || value != std::floor(value)) {
    return error(Code::kCorrupt, "key '", key.name, "' is ", value, ", a whole number is needed");
  }
  return static_cast<int64_t>(value);
}

Status missing(std::string_view key) { return error(Code::kCorrupt, "key '", key, "' is missing"); }

}  // namespace

const char* gguf_type_text(GgufType type) {
  static constexpr const char* kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

bool GgufKey::same_value(const GgufKey& other) const {
  return type == other.type && is_array == other.is_array && count == other.count &&
         bytes == other.bytes && std::memcmp(data, other.data, bytes) == 0;
}

std::string GgufTensor::shape() const {
  std::string text = std::to_string(ne[0]);
  for (int d = 1; d < dims; ++d) text += cat(" x ", ne[d]);
  return text;
}

Result<std::unique_ptr<GgufFile>> GgufFile::open(const std::string& path, FileAccess access) {
  HEED_ASSIGN(auto mapped, MappedFile::open(path, access));
  auto file = from_bytes(mapped->bytes(), path);
  HEED_TRY(mapped->unchanged());  // says more than what the parser made of missing bytes
  if (file.is_ok()) (*file)->files_.push_back(std::move(mapped));
  return file;
}

Result<std::unique_ptr<GgufFile>> GgufFile::from_bytes(std::span<const uint8_t> bytes,
                                                       const std::string& name) {
  std::unique_ptr<GgufFile> file(new GgufFile);
  file->path_ = name;
  file->size_ = bytes.size();
  HEED_TRY(GgufParser(bytes, *file).parse().with_context(name));
  return file;
}

Status GgufFile::append(std::unique_ptr<GgufFile> part) {
  for (const GgufTensor& tensor : part->tensors_) {
    if (find_tensor(tensor.name) == nullptr) continue;
    return error(Code::kCorrupt, part->path_, ": tensor '", printable(tensor.name),
                 "' is in an earlier part too; the parts do not belong together, download the set "
                 "again");
  }
  const auto first = static_cast<uint32_t>(tensors_.size());
  tensors_.insert(tensors_.end(), part->tensors_.begin(), part->tensors_.end());
  const auto sorted = static_cast<std::ptrdiff_t>(tensors_by_name_.size());
  for (const uint32_t index : part->tensors_by_name_) tensors_by_name_.push_back(first + index);
  std::inplace_merge(tensors_by_name_.begin(), tensors_by_name_.begin() + sorted,
                     tensors_by_name_.end(),
                     [&](uint32_t a, uint32_t b) { return tensors_[a].name < tensors_[b].name; });
  for (auto& file : part->files_) files_.push_back(std::move(file));
  size_ += part->size_;
  return Status::ok();
}

std::vector<std::string> GgufFile::paths() const {
  std::vector<std::string> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

bool GgufFile::mapped() const {
  return !files_.empty() &&
         std::all_of(files_.begin(), files_.end(), [](const auto& f) { return f->mapped(); });
}

const MappedFile* GgufFile::file_of(const uint8_t* data) const {
  const auto at = std::find_if(files_.begin(), files_.end(), [data](const auto& file) {
    const std::span<const uint8_t> bytes = file->bytes();
    return std::greater_equal<>()(data, bytes.data()) &&
           std::less<>()(data, bytes.data() + bytes.size());
  });
  return at == files_.end() ? nullptr : at->get();
}

void GgufFile::prefetch() const {
  for (const auto& file : files_) file->prefetch();
}

void GgufFile::release(const uint8_t* data, size_t bytes) const {
  if (const MappedFile* file = file_of(data)) file->release(data, bytes);
}

void GgufFile::looked_up(const uint8_t* data, size_t bytes) const {
  if (const MappedFile* file = file_of(data)) file->looked_up(data, bytes);
}

Status GgufFile::unchanged() const {
  for (const auto& file : files_) HEED_TRY(file->unchanged());
  return Status::ok();
}

const GgufKey* GgufFile::find(std::string_view key) const {
  const auto at = std::lower_bound(
      keys_by_name_.begin(), keys_by_name_.end(), key,
      [&](uint32_t index, std::string_view name) { return keys_[index].name < name; });
  return at != keys_by_name_.end() && keys_[*at].name == key ? &keys_[*at] : nullptr;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_by_name_.begin(), tensors_by_name_.end(), name,
      [&](uint32_t index, std::string_view n) { return tensors_[index].name < n; });
  return at != tensors_by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

Result<int64_t> GgufFile::integer(std::string_view name, std::optional<int64_t> fallback) const {
  const GgufKey* key = find(name);
  if (key == nullptr) return fallback ? Result<int64_t>(*fallback) : missing(name);
  if (key->is_array) {
    return error(Code::kCorrupt, "key '", name, "' is ", kind(*key), ", one number is needed");
  }
  return whole(*key, 0);
}

Result<int64_t> GgufFile::integer_at(std::string_view name, uint64_t index,
                                     std::optional<int64_t> fallback) const {
  const GgufKey* key = find(name);
  if (key == nullptr) return fallback ? Result<int64_t>(*fallback) : missing(name);
  if (!key->is_array) return whole(*key, 0);
  if (index >= key->count) {
    return error(Code::kCorrupt, "key '", name, "' is ", kind(*key), ", element ", index,
                 " is needed");
  }
  return whole(*key, index);
}

Result<double> GgufFile::number(std::string_view name, std::optional<double> fallback) const {
  const GgufKey* key = find(name);
  if (key == nullptr) return fallback ? Result<double>(*fallback) : missing(name);
  if (key->is_array) {
    return error(Code::kCorrupt, "key '", name, "' is ", kind(*key), ", one number is needed");
  }
  HEED_ASSIGN(const double value, element(*key, 0));
  if (!std::isfinite(value)) return error(Code::kCorrupt, "key '", name, "' is not finite");
  return value;
}

Result<std::string> GgufFile::text(std::string_view name,
                                   std::optional<std::string> fallback) const {
  const GgufKey* key = find(name);
  if (key == nullptr) return fallback ? Result<std::string>(*fallback) : missing(name);
  if (key->is_array || key->type != GgufType::kString) {
    return error(Code::kCorrupt, "key '", name, "' is ", kind(*key), ", a string is needed");
  }
  std::string_view value;
  GgufStrings(*key).next(value);
  return std::string(value);
}

bool GgufStrings::next(std::string_view& text) {
  if (left_ == 0) return false;
  const auto length = load<uint64_t>(at_, 0);
  text = {reinterpret_cast<const char*>(at_ + sizeof(uint64_t)), static_cast<size_t>(length)};
  at_ += sizeof(uint64_t) + length;
  --left_;
  return true;
}

}  // namespace heed
