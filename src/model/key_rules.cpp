#include "model/key_rules.h"

#include <algorithm>

#include "base/text.h"

namespace heed {
namespace {

// Read by hyperparameters.cpp and rope_keys.cpp.
constexpr std::string_view kRead[] = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scale_linear",
    "vocab_size",
    "pooling_type",
};

// Read there of architectures with experts.
constexpr std::string_view kReadOfExperts[] = {
    "expert_count",       "expert_used_count",   "expert_feed_forward_length",
    "expert_gating_func", "expert_weights_norm", "expert_weights_scale",
};

// Facts about the file or its training that no formula uses.
constexpr std::string_view kIgnored[] = {
    "tensor_data_layout", "rope.scaling.finetuned",
    "attention.layer_norm_epsilon",  // encoders read it
};

// Numbers that must have the value at which they change nothing.
struct Neutral {
  std::string_view key;
  double value;
  const char* what;
};
constexpr Neutral kNeutral[] = {
    {"expert_count", 0, "mixture of experts"},
    {"expert_used_count", 0, "mixture of experts"},
    {"expert_shared_count", 0, "experts that every row takes"},
    {"expert_shared_feed_forward_length", 0, "experts that every row takes"},
    {"expert_group_count", 0, "experts in groups"},
    {"nextn_predict_layers", 0, "multi-token prediction layers"},
    {"attention.causal", 1, "attention that is not causal"},
    {"attn_logit_softcapping", 0, "soft capping of scores"},
    {"final_logit_softcapping", 0, "soft capping of logits"},
    {"attention.max_alibi_bias", 0, "ALiBi"},
    {"attention.clamp_kqv", 0, "clamping of q, k and v"},
    {"attention.scale", 0, "a score scale of its own"},
    {"attention.temperature_scale", 0, "queries that grow with their position"},
    {"rope.scaling.yarn_ext_factor", 1, "YaRN by halves"},
    {"rope.scaling.yarn_attn_factor", 1, "YaRN with a length factor of its own"},
    {"rope.scaling.yarn_beta_fast", 32, "YaRN with another fast end"},
    {"rope.scaling.yarn_beta_slow", 1, "YaRN with another slow end"},
    {"rope.scaling.yarn_log_multiplier", 0, "YaRN with a logarithm factor of its own"},
    {"rope.scaling.alpha", 0, "a rotation scaled by alpha"},
    {"use_parallel_residual", 0, "parallel residual branches"},
    {"logit_scale", 0, "a logit scale"},
    {"residual_scale", 0, "a residual scale"},
    {"embedding_scale", 0, "an embedding scale of its own"},
};

bool contains(const auto& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

Status check_neutral(const GgufFile& file, const GgufKey& key, const Neutral& rule) {
  HEED_ASSIGN(const double value, file.number(key.name));
  if (value == rule.value) return Status::ok();
  return error(Code::kUnsupported, "key '", key.name, "' is ", value, ": heed does not compute ",
               rule.what, "; take a model without it, or run this one with llama.cpp");
}

}  // namespace

Status check_keys(const GgufFile& file, const Architecture& arch) {
  const std::string prefix = cat(arch.name, ".");
  for (const GgufKey& key : file.keys()) {
    if (!key.name.starts_with(prefix)) continue;
    const std::string_view name = key.name.substr(prefix.size());
    if (contains(kRead, name) || contains(kIgnored, name) || contains(arch.keys, name)) continue;
    if (arch.gating != Gating::kNone && contains(kReadOfExperts, name)) continue;
    const auto* rule = std::find_if(std::begin(kNeutral), std::end(kNeutral),
                                    [&](const Neutral& n) { return n.key == name; });
    if (rule == std::end(kNeutral)) {
      return error(Code::kUnsupported, "key '", key.name.substr(0, 128),
                   "' is not known to heed and may change the mathematics; convert the model again "
                   "without it if it does not, or run this one with llama.cpp");
    }
    HEED_TRY(check_neutral(file, key, *rule));
  }
  return Status::ok();
}

}  // namespace heed
