#include "model/sampling_keys.h"

#include <algorithm>
#include <cfloat>
#include <climits>
#include <span>
#include <string>
#include <string_view>

#include "base/text.h"
#include "model/sampler.h"

namespace heed {
namespace {

constexpr std::string_view kPrefix = "general.sampling.";

// A key and what it sets; which one is not null says its type.
struct Rule {
  std::string_view name;
  float SamplerOptions::*real = nullptr;
  int SamplerOptions::*whole = nullptr;
};
using O = SamplerOptions;
constexpr std::string_view kSequence = "sequence";  // the chain, which is text
constexpr std::string_view kMirostat = "mirostat";
constexpr Rule kRules[] = {
    {"temp", &O::temperature},
    {"top_k", nullptr, &O::top_k},
    {"top_p", &O::top_p},
    {"min_p", &O::min_p},
    {"xtc_probability", &O::xtc_probability},
    {"xtc_threshold", &O::xtc_threshold},
    {"penalty_last_n", nullptr, &O::repeat_last_n},
    {"penalty_repeat", &O::repeat_penalty},
    {kMirostat, nullptr, &O::mirostat},
    {"mirostat_tau", &O::mirostat_tau},
    {"mirostat_eta", &O::mirostat_eta},
};

const Rule* find_rule(std::string_view name) {
  const auto* at = std::find_if(std::begin(kRules), std::end(kRules),
                                [&](const Rule& r) { return r.name == name; });
  return at == std::end(kRules) ? nullptr : at;
}

float as_float(double value) {
  return static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX));
}

Result<SamplingKey> read_key(const GgufFile& file, const GgufKey& key) {
  SamplingKey out;
  out.name = key.name.substr(kPrefix.size());
  if (out.name == kSequence) {
    HEED_ASSIGN(out.text, file.text(key.name));
    return out;
  }
  if (const Rule* rule = find_rule(out.name)) {
    if (rule->whole != nullptr) {
      HEED_ASSIGN(const int64_t value, file.integer(key.name));
      out.number = static_cast<double>(value);
      out.text = cat(value);
    } else {
      HEED_ASSIGN(out.number, file.number(key.name));
      // In as few digits as tell a float32, 0.6 and not 0.600000024.
      out.text = cat(as_float(out.number));
    }
    return out;
  }
  out.known = false;
  return out;
}

bool contains(std::span<const std::string> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Result<std::vector<SamplingKey>> read_sampling_keys(const GgufFile& file) {
  std::vector<SamplingKey> keys;
  for (const GgufKey& key : file.keys()) {
    if (!key.name.starts_with(kPrefix)) continue;
    HEED_ASSIGN(SamplingKey read, read_key(file, key));
    keys.push_back(std::move(read));
  }
  return keys;
}

Result<std::vector<SamplingKey>> take_recommended(const ModelInfo& model,
                                                  std::span<const std::string> own,
                                                  SamplerOptions& options) {
  // Mirostat takes the place of a chain: who named one of the two has decided against the other,
  // and where a file names both, llama.cpp runs mirostat.
  const bool own_chain = contains(own, kSequence);
  bool mirostat = contains(own, kMirostat) && options.mirostat != 0;
  for (const SamplingKey& key : model.sampling) {
    mirostat |= key.name == kMirostat && key.number != 0 && !own_chain && !contains(own, kMirostat);
  }
  std::vector<SamplingKey> taken;
  std::string all;
  SamplerOptions out = options;
  for (const SamplingKey& key : model.sampling) {
    if (!key.known || contains(own, key.name)) continue;
    const Rule* rule = find_rule(key.name);
    if (rule == nullptr) {  // the chain
      if (mirostat) continue;
      out.samplers = samplers_from_names(key.text);
    } else if (rule->real != nullptr) {
      out.*rule->real = as_float(key.number);
    } else {
      if (key.name == kMirostat && own_chain) continue;
      out.*rule->whole = static_cast<int>(std::clamp<double>(key.number, INT_MIN, INT_MAX));
    }
    all += cat(all.empty() ? "" : ", ", key.name, " ", key.text);
    taken.push_back(key);
  }
  if (const Status status = check_sampler(out); !status.is_ok()) {
    return error(status.code(), model.path, ": the file recommends ", all, ", but ",
                 status.message(), "; set it on the command line");
  }
  options = std::move(out);
  return taken;
}

}  // namespace heed
