#include "cli/sampling_report.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/terminal.h"

namespace heed::cli {

std::string sampling_text(std::span<const SamplingKey> keys) {
  std::string out;
  for (const SamplingKey& key : keys) {
    out +=
        cat(out.empty() ? "" : ", ", key.name, key.known ? " " : " (not known to heed)", key.text);
  }
  return printable(out);
}

nlohmann::ordered_json sampling_json(std::span<const SamplingKey> keys) {
  auto out = nlohmann::ordered_json::object();
  for (const SamplingKey& key : keys) {
    if (!key.known) {
      out[key.name] = nullptr;
    } else if (key.name == "sequence") {
      out[key.name] = key.text;
    } else if (key.number == std::floor(key.number) && std::fabs(key.number) < 1e15) {
      out[key.name] = static_cast<int64_t>(key.number);
    } else {
      // The digits of its text: a float32 of 0.6 is 0.60000002384185791 as it stands.
      out[key.name] = std::strtod(key.text.c_str(), nullptr);
    }
  }
  return out;
}

void note_sampling(const ModelInfo& model, std::span<const SamplingKey> taken) {
  if (!taken.empty()) {
    note(cat("sampling as the file recommends: ", sampling_text(taken), " (flags overrule it)"));
  }
  std::vector<SamplingKey> unknown;
  for (const SamplingKey& key : model.sampling) {
    if (!key.known) unknown.push_back(key);
  }
  if (!unknown.empty()) {
    note(cat("sampling that the file recommends and nobody applies: ", sampling_text(unknown)));
  }
}

}  // namespace heed::cli
