#include "cli/adapter_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>

#include "base/text.h"
#include "cli/list_options.h"
#include "cli/parse.h"

namespace heed::cli {
namespace {

enum class Scale : uint8_t { kNone, kMay, kMust };

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// "FILE:SCALE"; a file may have colons in its name, and be called like a number behind one.
std::optional<ScaledFile> with_scale(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return {};
  ScaledFile file{text.substr(0, colon)};
  const char* const end = text.data() + text.size();
  const auto [at, fault] = std::from_chars(text.data() + colon + 1, end, file.scale);
  if (fault != std::errc() || at != end || !std::isfinite(file.scale)) return {};
  return file;
}

Status take(const char* option, const std::vector<std::string>& values, Scale scale,
            std::vector<ScaledFile>& to) {
  for (const std::string& value : values) {
    // A comma separates files unless it is part of one's name.
    const bool whole = exists(value);
    const auto list = whole ? std::vector{value} : entries(option, value);
    for (const std::string& entry : list) {
      const auto scaled = scale == Scale::kNone ? std::nullopt : with_scale(entry);
      if (scale == Scale::kMust && !scaled) {
        return error(Code::kInvalidArgument, option, " '", entry,
                     "' is not FILE:SCALE, for example style.gguf:0.5");
      }
      const bool plain = scale != Scale::kMust && (exists(entry) || !scaled);
      to.push_back(plain ? ScaledFile{entry} : *scaled);
    }
  }
  return Status::ok();
}

}  // namespace

void AdapterOptions::bind(CLI::App& app) {
  add(app, "--lora", lora_,
      "LoRA adapter in GGUF, unmerged: FILE or FILE:SCALE, or several with commas; may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
  add(app, "--lora-scaled", lora_scaled_, "The same as FILE:SCALE, as in llama.cpp")
      ->type_name("FILE:SCALE")
      ->allow_extra_args(false);
  add(app, "--control-vector", control_,
      "Control vector in GGUF, added behind layers; may be repeated, then their sum is")
      ->type_name("FILE")
      ->allow_extra_args(false);
  add(app, "--control-vector-scaled", control_scaled_, "The same as FILE:SCALE")
      ->type_name("FILE:SCALE")
      ->allow_extra_args(false);
  add(app, "--control-vector-layer-range", range_,
      "First and last layer that control vectors change; 0 0: 1 to the model's last")
      ->type_name("START END");
}

Status AdapterOptions::settle() {
  try {
    HEED_TRY(take("--lora", lora_, Scale::kMay, files_.loras));
    HEED_TRY(take("--lora-scaled", lora_scaled_, Scale::kMust, files_.loras));
    HEED_TRY(take("--control-vector", control_, Scale::kNone, files_.controls));
    HEED_TRY(take("--control-vector-scaled", control_scaled_, Scale::kMust, files_.controls));
  } catch (const CLI::ValidationError& e) {  // an empty entry of a list
    return Status(Code::kInvalidArgument, e.what());
  }
  paths_ = files_.lora_paths();
  if (range_ != std::pair(0, 0) && !files_.steers()) {
    return Status(Code::kInvalidArgument, "--control-vector-layer-range needs --control-vector");
  }
  // As llama.cpp: what is not above 0 stands for the first and the last.
  files_.range = {std::max(range_.first, 1), std::max(range_.second, 0)};
  return Status::ok();
}

void AdapterOptions::add_loras(const std::vector<std::string>& files) {
  std::vector<ScaledFile> scaled;
  for (const std::string& file : files) scaled.push_back({file});
  files_.loras.insert(files_.loras.begin(), scaled.begin(), scaled.end());
  paths_ = files_.lora_paths();
}

}  // namespace heed::cli
