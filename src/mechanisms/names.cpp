// Words of the registry's enumerations.
#include <algorithm>
#include <array>

#include "heed/mechanisms.h"

namespace heed {
namespace {

struct StageWords {
  const char* name;
  const char* about;
};
constexpr std::array<StageWords, kStageCount> kStages = {{
    {"score",
     "how a score is made of a query, a key and their positions, and how a row is normalised"},
    {"prefill", "which keys the rows of a prompt read"},
    {"correct", "what is done about the keys that prefill skipped"},
    {"evict", "which entries leave the store"},
    {"budget", "how many entries each head keeps"},
    {"merge", "where evicted entries go"},
    {"when", "when entries are evicted"},
    {"ceiling", "what the store may hold at most"},
    {"decode", "which keys a generated token reads"},
    {"kv", "the format of keys and values"},
    {"head", "what a head computes, or whether it does"},
    {"steer", "what is added to scores, values or outputs to steer the model"},
}};

constexpr std::array kCapabilities = {
    "changes_kv",   "owns_storage",   "needs_full_store", "needs_sorted",
    "irreversible", "per_layer_plan", "per_head",         "group_shared",
    "windowed",     "bidirectional",  "wrapper",
};

}  // namespace

const char* stage_name(Stage stage) { return kStages[static_cast<size_t>(stage)].name; }
const char* stage_about(Stage stage) { return kStages[static_cast<size_t>(stage)].about; }

const char* needs_name(Needs needs) {
  switch (needs) {
    case Needs::kNothing: return "nothing";
    case Needs::kCalibration: return "calibration";
    case Needs::kTrainedWeights: return "trained weights";
    case Needs::kArchitecture: return "a model of its architecture";
  }
  return "?";
}

const char* invariance_name(Invariance invariance) {
  switch (invariance) {
    case Invariance::kExact: return "exact";
    case Invariance::kRowBlockAligned: return "row-block-aligned";
    case Invariance::kPerChunk: return "per-chunk";
  }
  return "?";
}

std::vector<std::string_view> capability_names(uint32_t capabilities) {
  std::vector<std::string_view> out;
  for (size_t bit = 0; bit < kCapabilities.size(); ++bit) {
    if ((capabilities >> bit & 1u) != 0) out.emplace_back(kCapabilities[bit]);
  }
  return out;
}

std::vector<std::string_view> words_in(std::string_view list) {
  std::vector<std::string_view> out;
  while (!list.empty()) {
    const size_t end = std::min(list.find(' '), list.size());
    if (end > 0) out.push_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return out;
}

int Mechanism::index_of(std::string_view parameter) const {
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name == parameter) return static_cast<int>(i);
    const auto others = words_in(parameters[i].aliases);
    if (std::ranges::find(others, parameter) != others.end()) return static_cast<int>(i);
  }
  return -1;
}

int64_t Setting::integer(std::string_view name) const {
  return std::get<int64_t>(values[static_cast<size_t>(mechanism->index_of(name))]);
}

double Setting::number(std::string_view name) const {
  return std::get<double>(values[static_cast<size_t>(mechanism->index_of(name))]);
}

bool Setting::flag(std::string_view name) const {
  return std::get<bool>(values[static_cast<size_t>(mechanism->index_of(name))]);
}

const std::string& Setting::word(std::string_view name) const {
  return std::get<std::string>(values[static_cast<size_t>(mechanism->index_of(name))]);
}

}  // namespace heed
