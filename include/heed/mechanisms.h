// What heed can do to attention, by name: one row a mechanism, from which help, pages, schemas and
// policies (heed/policy.h) are made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "heed/status.h"

namespace heed {

// Where in the work of a layer a mechanism acts; the key of a policy.
enum class Stage : uint8_t {
  kScore,
  kPrefill,
  kCorrect,
  kEvict,
  kBudget,
  kMerge,
  kWhen,
  kCeiling,
  kDecode,
  kKv,
  kHead,
  kSteer,
};
inline constexpr int kStageCount = 12;
const char* stage_name(Stage stage);   // "prefill"
const char* stage_about(Stage stage);  // what it decides, for people

enum class ParameterType : uint8_t { kInt, kFloat, kBool, kChoice, kFile, kBudget };

// How much of a store is kept.
struct Budget {
  enum class Unit : uint8_t { kEntries, kPercent, kBytes };
  Unit unit = Unit::kEntries;
  double amount = 0;
  bool operator==(const Budget&) const = default;
};

// A choice and a file are strings.
using Value = std::variant<int64_t, double, bool, std::string, Budget>;

// Lists of words are one text with spaces, so that rows are constants.
std::vector<std::string_view> words_in(std::string_view list);

struct Parameter {
  std::string_view name;
  ParameterType type = ParameterType::kInt;
  std::string_view standard =
      {};  // as in a policy; a file without one has to be given, unless optional
  double least = 0, most = 0;  // of a number, both inclusive
  std::string_view choices = {};
  std::string_view unit = {};  // "tokens"
  std::string_view help = {};
  std::string_view aliases = {};  // other projects' names
  bool optional = false;          // a file: may be absent
};

enum class Needs : uint8_t { kNothing, kCalibration, kTrainedWeights, kArchitecture };
const char* needs_name(Needs needs);

// Whether the result depends on how a prompt is cut into chunks.
enum class Invariance : uint8_t {
  kExact,            // it does not
  kRowBlockAligned,  // not while chunks end where blocks of query rows do
  kPerChunk,         // each chunk is estimated by itself; one chunk is the paper's form
};
const char* invariance_name(Invariance invariance);

enum Capability : uint32_t {
  kChangesKv = 1u << 0,       // keys and values of deeper layers are not those of dense
  kOwnsStorage = 1u << 1,     // keeps keys and values in a form of its own
  kNeedsFullStore = 1u << 2,  // every key of the sequence has to be there
  kNeedsSorted = 1u << 3,     // keys have to be in the order of their positions
  kIrreversible = 1u << 4,    // what it drops is gone
  kPerLayerPlan = 1u << 5,    // layers may differ
  kPerHead = 1u << 6,         // query heads may differ
  kGroupShared = 1u << 7,     // the query heads of a KV head share what they read
  kWindowed = 1u << 8,        // right in layers with a sliding window
  kBidirectional = 1u << 9,   // right without a causal mask
  kWrapper = 1u << 10,        // stands behind a + and changes what is before it
};
// "changes_kv", ... in the order of the bits.
std::vector<std::string_view> capability_names(uint32_t capabilities);

struct Mechanism;

// A mechanism with a value for each of its parameters.
struct Setting {
  const Mechanism* mechanism = nullptr;
  std::vector<Value> values;  // in the order of the parameters

  // Of a parameter that the row has with that type.
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  bool flag(std::string_view name) const;
  const std::string& word(std::string_view name) const;  // a choice or a file, "" when absent
  bool operator==(const Setting&) const = default;
};

// What a head reads of a prompt of `tokens` that begins the sequence, in a layer without a window:
// (query, key) pairs. A corrector's are those it computes besides.
struct Work {
  double least = 0, most = 0;
};
using WorkFunction = std::optional<Work> (*)(int64_t tokens, const Setting& setting);

struct Mechanism {
  std::string_view name;
  std::string_view aliases = {};
  Stage stage = Stage::kPrefill;
  std::string_view summary = {};  // one line
  std::string_view idea = {};     // one paragraph
  std::string_view formula = {};  // lines
  std::string_view paper = {};
  std::string_view cost = {};  // lines; T rows, S keys, D head size
  Needs needs = Needs::kNothing;
  std::string_view without = {};  // what it does without what it needs
  uint32_t capabilities = 0;
  Invariance invariance = Invariance::kExact;
  bool query_aware = false;  // rows before depend on what the chunk's last rows ask for
  int row_block = 0;         // query rows that share a set; a parameter `block` comes before it
  std::string_view positional = {};  // the parameter that may stand first without its name
  std::span<const Parameter> parameters = {};
  int revision = 1;                               // raised when the same values come to mean else
  WorkFunction work = nullptr;                    // absent: density is not known before the run
  Status (*check)(const Setting& set) = nullptr;  // of parameters against each other

  int index_of(std::string_view parameter) const;  // by name or alias; -1: it has none
};

// Those that this build runs, by stage.
std::span<const Mechanism* const> mechanisms();
// By name or alias; upper case and - count as lower case and _.
// Errors: kNotFound, with the nearest.
Result<const Mechanism*> find_mechanism(std::string_view name);

// A value as policies write it: numbers in the fewest digits that give the same number.
std::string value_text(const Value& value);
// Errors: `text` is none of the parameter's values; the message names the parameter, the text and
// what is valid.
Result<Value> parse_value(const Parameter& parameter, std::string_view text);
std::string valid_values(const Parameter& parameter);  // "a whole number from 0 to 64"
// Every parameter at its default.
Setting default_setting(const Mechanism& mechanism);

}  // namespace heed
