// A policy names, stage by stage, what is done to attention, for the whole model or for some of its
// layers and heads. Where it names nothing, attention is dense and pages have the model's format.
//
//   prefill=flexprefill:gamma=0.95;correct=delta_attention:64;kv=k:bf16,v:f16
//   prefill=a_shape;prefill@L0-1=dense;prefill@L12.H3=tri_shape:n_last=64
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/format.h"
#include "heed/mechanisms.h"
#include "heed/status.h"

namespace heed {

class Registry;

// Layers and heads, both ends included.
struct Where {
  enum class Heads : uint8_t { kAll, kKv, kQuery };
  static constexpr int kMostLayer = 511, kMostHead = 1023;

  bool all_layers = true;
  int first_layer = 0, last_layer = 0;
  Heads heads = Heads::kAll;
  int first_head = 0, last_head = 0;

  bool everywhere() const { return all_layers && heads == Heads::kAll; }
  // Of two that hold for the same head the higher one decides: query heads before KV heads before
  // layers before everything, and heads of some layers before those of all.
  int rank() const;
  bool holds(int layer, int head, int kv_head) const;
  bool overlaps(const Where& other) const;
  std::string text() const;  // "L0-3", "L12.H3", "L*.KV1", "*"
  bool operator==(const Where&) const = default;
};

struct Assignment {
  Stage stage = Stage::kPrefill;
  Where where;
  // The mechanism and the wrappers behind it; empty: none. Of the stage kv it is always two, keys
  // and values, without a mechanism where the model's own format stays.
  std::vector<Setting> chain;
};

class Policy {
 public:
  static constexpr size_t kMostText = 1 << 16, kMostAssignments = 4096;

  // Text as above; empty: dense. Errors name the stage, the value and what is valid, on one line.
  static Result<Policy> parse(std::string_view text);
  static Result<Policy> parse(std::string_view text, const Registry& registry);

  // What this one names, and what `base` names at other stages.
  Policy over(const Policy& base) const;

  // By stage, and within it by rank.
  std::span<const Assignment> assignments() const { return assignments_; }
  // What decides for a query head; nullptr: nothing is named.
  const Assignment* at(Stage stage, int layer, int head, int kv_head) const;
  bool names(Stage stage) const;
  // Page formats; absent: the model's own.
  std::optional<Format> k() const { return format(0); }
  std::optional<Format> v() const { return format(1); }

  // The canonical form: parse() of it is the same policy, and policies that say the same have the
  // same text. Defaults are left out; "" is dense.
  std::string text() const;
  // Of the canonical form with every value, revisions, and what files hold. Errors: a file cannot
  // be read.
  Result<uint64_t> hash() const;
  // Of the stages that alter keys, values or their format: policies with the same one may share
  // pages.
  Result<uint64_t> kv_hash() const;

 private:
  std::optional<Format> format(size_t which) const;
  Result<uint64_t> hash_of(bool kv_only) const;
  std::vector<const Assignment*> canonical() const;

  std::vector<Assignment> assignments_;
};

std::string hash_text(uint64_t hash);  // 16 lower-case digits
// "a_shape:n_local=512": what differs from the defaults.
std::string setting_text(const Setting& setting);

// A policy under a name of its own.
struct Preset {
  const char* name;
  const char* text;
  const char* about;
};
std::span<const Preset> presets();
const Preset* find_preset(std::string_view name);  // nullptr: there is none

// Whether text is STAGE=..., not the name of a file or a preset.
bool is_policy_text(std::string_view text);

// --- Verdicts ---

struct ModelShape {
  struct Layer {
    int heads = 0, kv_heads = 0;
    int window = 0;  // 0: sees everything
  };
  std::vector<Layer> layers;
  bool causal = true;  // false: an encoder
};

// A run as far as it is known: 0 is not.
struct PolicyRun {
  int64_t prompt = 0;
  int chunk = 0;
};

enum class Verdict : uint8_t { kYes, kDegraded, kRefused };
const char* verdict_name(Verdict verdict);  // "yes", "degraded", "refused"

struct Finding {
  Verdict verdict = Verdict::kDegraded;
  Stage stage = Stage::kPrefill;
  std::string_view rule;
  std::string text;  // because ...
};

// What the rules have to say; nothing: yes. Without a model, what depends on it is left out.
std::vector<Finding> judge(const Policy& policy, const ModelShape* model, const PolicyRun& run);
Verdict worst(std::span<const Finding> findings);
// The first refusal as an error.
Status refusal(std::span<const Finding> findings);

// What a query head of a layer does in the end: dense where a rule says that it stays so.
struct HeadPlan {
  Setting prefill;                   // always has a mechanism
  std::span<const Setting> correct;  // of the policy
};
HeadPlan plan_head(const Policy& policy, const ModelShape& model, int layer, int head);

// (query, key) pairs of a head over those of dense; absent: not known before the run.
std::optional<Work> predicted_density(const HeadPlan& plan, const ModelShape::Layer& layer,
                                      int64_t tokens);

}  // namespace heed
