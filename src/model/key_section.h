// The keys of one architecture's section of a file, "llama.KEY", checked against limits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/text.h"
#include "heed/status.h"
#include "model/architecture.h"
#include "model/gguf_file.h"

namespace heed {

class KeySection {
 public:
  KeySection(const GgufFile& file, const Architecture& arch) : file_(file), prefix_(arch.name) {
    prefix_ += '.';
  }

  bool has(const char* key) const { return file_.find(prefix_ + key) != nullptr; }
  std::string name(const char* key) const { return prefix_ + key; }

  Result<int> integer(const char* key, int64_t low, int64_t high,
                      std::optional<int64_t> fallback = {}) const {
    HEED_ASSIGN(const int64_t value, file_.integer(name(key), fallback));
    HEED_TRY(check_range(key, value, low, high));
    return static_cast<int>(value);
  }
  // Per layer where the file has an array, else the same for all.
  Result<int> integer_at(const char* key, int layer, int64_t low, int64_t high,
                         std::optional<int64_t> fallback = {}) const {
    HEED_ASSIGN(const int64_t value,
                file_.integer_at(name(key), static_cast<uint64_t>(layer), fallback));
    HEED_TRY(check_range(key, value, low, high));
    return static_cast<int>(value);
  }
  Result<double> number(const char* key, std::optional<double> fallback = {}) const {
    return file_.number(name(key), fallback);
  }
  // Above 0, or `fallback` where the file has no such key or 0 there.
  Result<double> positive(const char* key, double fallback) const {
    HEED_ASSIGN(const double value, number(key, 0.0));
    if (value >= 0) return value == 0 ? fallback : value;
    return error(Code::kOutOfRange, "key '", name(key), "' is ", value,
                 ", must be above 0, or 0 for none");
  }
  Result<std::string> text(const char* key, std::string fallback) const {
    return file_.text(name(key), std::move(fallback));
  }
  const GgufKey* find(const char* key) const { return file_.find(prefix_ + key); }

 private:
  Status check_range(const char* key, int64_t value, int64_t low, int64_t high) const {
    if (value >= low && value <= high) return Status::ok();
    return error(Code::kOutOfRange, "key '", name(key), "' is ", value, ", must be ", low, " to ",
                 high);
  }

  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace heed
