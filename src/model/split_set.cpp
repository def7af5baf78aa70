#include "model/split_set.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "base/text.h"
#include "model/gguf_parser.h"

namespace heed {
namespace {

constexpr int kMostParts = 99999;  // five digits in a name
constexpr std::string_view kEnding = ".gguf";

constexpr std::string_view kNumberKey = "split.no";
constexpr std::string_view kCountKey = "split.count";
constexpr std::string_view kTensorsKey = "split.tensors.count";

std::optional<int> five_digits(std::string_view text) {
  int value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = fault == std::errc() && end == text.data() + text.size();
  return text.size() == 5 && whole && value >= 1 ? std::optional<int>(value) : std::nullopt;
}

// What the keys of a part say.
struct PartKeys {
  int64_t part = 1;  // from 1; the key counts from 0
  int64_t parts = 1;
  int64_t tensors = 0;  // of all parts
};

std::string position(int64_t part, int64_t parts) { return cat("part ", part, " of ", parts); }

// One part where the file is no part.
Result<int64_t> count_parts(const GgufFile& file) {
  HEED_ASSIGN(const int64_t parts, file.integer(kCountKey, 1));
  if (parts >= 0 && parts <= kMostParts) return std::max<int64_t>(parts, 1);
  return error(Code::kCorrupt, "key '", kCountKey, "' is ", parts, ", must be 0 to ", kMostParts);
}

Result<PartKeys> read_part_keys(const GgufFile& file) {
  PartKeys keys;
  HEED_ASSIGN(keys.parts, count_parts(file));
  HEED_ASSIGN(const int64_t number, file.integer(kNumberKey, 0));
  if (number < 0 || number >= keys.parts) {
    return error(Code::kCorrupt, "key '", kNumberKey, "' is ", number, ", but key '", kCountKey,
                 "' says ", keys.parts, " parts, counted from 0");
  }
  keys.part = number + 1;
  HEED_ASSIGN(keys.tensors, file.integer(kTensorsKey));
  return keys;
}

// A part under the name of another would take its place, or be read twice.
Result<SplitName> checked_name(const GgufFile& file, const PartKeys& keys) {
  std::optional<SplitName> name = split_name(file.path());
  if (name && name->part == keys.part && name->parts == keys.parts) return std::move(*name);
  const std::string says = name ? cat("its name says ", position(name->part, name->parts))
                                : std::string("its name does not say so");
  SplitName right = name.value_or(SplitName{});
  if (!name) {
    right.stem = file.path();
    if (right.stem.ends_with(kEnding)) right.stem.resize(right.stem.size() - kEnding.size());
  }
  right.parts = static_cast<int>(keys.parts);
  return error(Code::kInvalidArgument, file.path(), ": its keys say ",
               position(keys.part, keys.parts), ", ", says,
               "; parts are found by their names: call it ",
               right.path_of(static_cast<int>(keys.part)));
}

Result<std::unique_ptr<GgufFile>> open_part(const SplitName& name, int part, FileAccess access) {
  const std::string path = name.path_of(part);
  Result<std::unique_ptr<GgufFile>> file = GgufFile::open(path, access);
  if (file.is_ok() || file.code() != Code::kNotFound) return file;
  return error(Code::kNotFound, path, ": ", position(part, name.parts),
               " of this model is missing; put all its parts into one folder");
}

// Later parts have no keys of their own but those of the set; what some writers repeat must be the
// first part's.
Status check_same_model(const GgufFile& first, const GgufFile& part) {
  for (const GgufKey& key : part.keys()) {
    if (key.name.starts_with("split.") || key.name == "general.alignment") continue;
    const GgufKey* known = first.find(key.name);
    if (known != nullptr && known->same_value(key)) continue;
    return error(Code::kCorrupt, part.path(), ": key '", printable(key.name), "' is ",
                 known == nullptr ? "not in " : "another than in ", first.path(),
                 ": these are parts of different models; download the set again");
  }
  return Status::ok();
}

Status check_part(const GgufFile& part, const PartKeys& set, int number) {
  Result<PartKeys> keys = read_part_keys(part);
  if (!keys.is_ok()) return keys.status().with_context(part.path());
  if (keys->parts != set.parts || keys->tensors != set.tensors) {
    return error(Code::kCorrupt, part.path(), ": is of a set of ", keys->parts, " parts with ",
                 keys->tensors, " tensors, the others are of ", set.parts, " with ", set.tensors,
                 "; download the set again");
  }
  if (keys->part != number) return checked_name(part, *keys).status();
  return Status::ok();
}

// All parts of the set that `given` belongs to, in their order.
Result<std::unique_ptr<GgufFile>> join(std::unique_ptr<GgufFile> given, FileAccess access) {
  Result<PartKeys> keys = read_part_keys(*given);
  if (!keys.is_ok()) return keys.status().with_context(given->path());
  HEED_ASSIGN(const SplitName name, checked_name(*given, *keys));
  std::unique_ptr<GgufFile> whole;
  for (int number = 1; number <= name.parts; ++number) {
    std::unique_ptr<GgufFile> part;
    if (number == name.part) {
      part = std::move(given);
    } else {
      HEED_ASSIGN(part, open_part(name, number, access));
    }
    HEED_TRY(check_part(*part, *keys, number));
    if (whole == nullptr) {
      whole = std::move(part);
      continue;
    }
    HEED_TRY(check_same_model(*whole, *part));
    HEED_TRY(whole->append(std::move(part)));
  }
  const auto tensors = static_cast<int64_t>(whole->tensors().size());
  if (tensors == keys->tensors) return whole;
  return error(Code::kCorrupt, whole->path(), ": its ", name.parts, " parts hold ", tensors,
               " tensors, key '", kTensorsKey, "' says ", keys->tensors,
               "; download the set again");
}

}  // namespace

std::string SplitName::path_of(int number) const {
  char ending[32];
  std::snprintf(ending, sizeof(ending), "-%05d-of-%05d", number, parts);
  return cat(stem, ending, kEnding);
}

std::optional<SplitName> split_name(std::string_view path) {
  constexpr std::string_view kForm = "-00001-of-00001.gguf";
  if (path.size() <= kForm.size() || !path.ends_with(kEnding)) return {};
  const std::string_view tail = path.substr(path.size() - kForm.size());
  const auto part = five_digits(tail.substr(1, 5));
  const auto parts = five_digits(tail.substr(10, 5));
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !part || !parts || *part > *parts) return {};
  return SplitName{std::string(path.substr(0, path.size() - kForm.size())), *part, *parts};
}

Result<std::unique_ptr<GgufFile>> open_model_file(const std::string& path, FileAccess access) {
  HEED_ASSIGN(auto file, GgufFile::open(path, access));
  Result<int64_t> parts = count_parts(*file);
  if (!parts.is_ok()) return parts.status().with_context(path);
  return *parts == 1 ? std::move(file) : join(std::move(file), access);
}

std::string first_part_path(const std::string& path) {
  const auto name = split_name(path);
  if (!name || name->part == 1) return path;
  std::string first = name->path_of(1);
  std::error_code ignored;
  if (!std::filesystem::exists(first, ignored)) return path;
  const auto file = GgufFile::open(path);
  if (!file.is_ok()) return path;
  const auto parts = count_parts(**file);
  return parts.is_ok() && *parts > 1 ? first : path;
}

}  // namespace heed
