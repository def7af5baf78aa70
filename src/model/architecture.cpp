#include "model/architecture.h"

#include "base/text.h"

namespace heed {
namespace {

using T = LayerTensor;
using S = Size;

constexpr LayerTensorSpec kSpecs[kLayerTensors] = {
    {T::kAttnNorm, "attn_norm.weight", S::kEmbd, S::kNone},
    {T::kQ, "attn_q.weight", S::kEmbd, S::kQ},
    {T::kQDown, "attn_q_a.weight", S::kEmbd, S::kQRank},
    {T::kQDownNorm, "attn_q_a_norm.weight", S::kQRank, S::kNone},
    {T::kQUp, "attn_q_b.weight", S::kQRank, S::kQ},
    {T::kLatent, "attn_kv_a_mqa.weight", S::kEmbd, S::kLatentKey},
    {T::kLatentNorm, "attn_kv_a_norm.weight", S::kLatent, S::kNone},
    {T::kKeyUp, "attn_k_b.weight", S::kKeyPart, S::kLatent, S::kHeads},
    {T::kK, "attn_k.weight", S::kEmbd, S::kK},
    {T::kV, "attn_v.weight", S::kEmbd, S::kV},
    {T::kQBias, "attn_q.bias", S::kQ, S::kNone},
    {T::kKBias, "attn_k.bias", S::kK, S::kNone},
    {T::kVBias, "attn_v.bias", S::kV, S::kNone},
    {T::kQNorm, "attn_q_norm.weight", S::kQNorm, S::kNone},
    {T::kKNorm, "attn_k_norm.weight", S::kKNorm, S::kNone},
    {T::kSinks, "attn_sinks.weight", S::kHeads, S::kNone},
    {T::kValueUp, "attn_v_b.weight", S::kLatent, S::kValue, S::kHeads},
    {T::kOut, "attn_output.weight", S::kAttn, S::kEmbd},
    {T::kOutBias, "attn_output.bias", S::kEmbd, S::kNone},
    {T::kPostAttnNorm, "post_attention_norm.weight", S::kEmbd, S::kNone},
    {T::kFfnNorm, "ffn_norm.weight", S::kEmbd, S::kNone},
    {T::kGate, "ffn_gate.weight", S::kEmbd, S::kFf},
    {T::kUp, "ffn_up.weight", S::kEmbd, S::kFf},
    {T::kDown, "ffn_down.weight", S::kFf, S::kEmbd},
    {T::kGateBias, "ffn_gate.bias", S::kFf, S::kNone},
    {T::kUpBias, "ffn_up.bias", S::kFf, S::kNone},
    {T::kDownBias, "ffn_down.bias", S::kEmbd, S::kNone},
    {T::kRouter, "ffn_gate_inp.weight", S::kEmbd, S::kExperts},
    {T::kRouterBias, "ffn_gate_inp.bias", S::kExperts, S::kNone},
    {T::kChoiceBias, "exp_probs_b.bias", S::kExperts, S::kNone},
    {T::kGateExperts, "ffn_gate_exps.weight", S::kEmbd, S::kFf, S::kExperts},
    {T::kUpExperts, "ffn_up_exps.weight", S::kEmbd, S::kFf, S::kExperts},
    {T::kDownExperts, "ffn_down_exps.weight", S::kFf, S::kEmbd, S::kExperts},
    {T::kGateExpertsBias, "ffn_gate_exps.bias", S::kFf, S::kNone, S::kExperts},
    {T::kUpExpertsBias, "ffn_up_exps.bias", S::kFf, S::kNone, S::kExperts},
    {T::kDownExpertsBias, "ffn_down_exps.bias", S::kEmbd, S::kNone, S::kExperts},
    {T::kGateShared, "ffn_gate_shexp.weight", S::kEmbd, S::kSharedFf},
    {T::kUpShared, "ffn_up_shexp.weight", S::kEmbd, S::kSharedFf},
    {T::kDownShared, "ffn_down_shexp.weight", S::kSharedFf, S::kEmbd},
    {T::kPostFfnNorm, "post_ffw_norm.weight", S::kEmbd, S::kNone},
    {T::kAttnOutNorm, "attn_output_norm.weight", S::kEmbd, S::kNone},
    {T::kAttnOutNormBias, "attn_output_norm.bias", S::kEmbd, S::kNone},
    {T::kLayerOutNorm, "layer_output_norm.weight", S::kEmbd, S::kNone},
    {T::kLayerOutNormBias, "layer_output_norm.bias", S::kEmbd, S::kNone},
};

constexpr TensorSet kAttention = tensor_set(T::kQ, T::kK, T::kV, T::kOut);
constexpr TensorSet kFeedForward = tensor_set(T::kGate, T::kUp, T::kDown);
constexpr TensorSet kPreNorms = tensor_set(T::kAttnNorm, T::kFfnNorm);
constexpr TensorSet kPostNorms = tensor_set(T::kPostAttnNorm, T::kPostFfnNorm);
constexpr TensorSet kQkNorms = tensor_set(T::kQNorm, T::kKNorm);
constexpr TensorSet kPlain = kAttention | kFeedForward | kPreNorms;
constexpr TensorSet kQkvBias = tensor_set(T::kQBias, T::kKBias, T::kVBias);
constexpr TensorSet kFfnBias = tensor_set(T::kGateBias, T::kUpBias, T::kDownBias);
constexpr TensorSet kLlamaBias = kQkvBias | tensor_set(T::kOutBias) | kFfnBias;
constexpr TensorSet kExperts =
    tensor_set(T::kRouter, T::kGateExperts, T::kUpExperts, T::kDownExperts);
constexpr TensorSet kSharedExperts = tensor_set(T::kGateShared, T::kUpShared, T::kDownShared);
constexpr TensorSet kQueryRank = tensor_set(T::kQDown, T::kQDownNorm, T::kQUp);
constexpr TensorSet kLatentAttention =
    tensor_set(T::kQ, T::kLatent, T::kLatentNorm, T::kKeyUp, T::kValueUp, T::kOut);
constexpr TensorSet kExpertsBias =
    tensor_set(T::kRouterBias, T::kGateExpertsBias, T::kUpExpertsBias, T::kDownExpertsBias);

constexpr TensorSet kEncoderNorms =
    tensor_set(T::kAttnOutNorm, T::kAttnOutNormBias, T::kLayerOutNorm, T::kLayerOutNormBias);

constexpr FusedTensor kEncoderFused[] = {
    {"attn_qkv.weight", {T::kQ, T::kK, T::kV}, 3},
    {"attn_qkv.bias", {T::kQBias, T::kKBias, T::kVBias}, 3},
};
constexpr FusedTensor kPhi3Fused[] = {
    {"attn_qkv.weight", {T::kQ, T::kK, T::kV}, 3},
    {"attn_qkv.bias", {T::kQBias, T::kKBias, T::kVBias}, 3},
    {"ffn_up.weight", {T::kGate, T::kUp}, 2},
};

constexpr std::string_view kMistral3Keys[] = {
    "attention.temperature_scale", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier"};
constexpr std::string_view kGraniteKeys[] = {"attention.scale", "embedding_scale", "residual_scale",
                                             "logit_scale"};
constexpr std::string_view kGemma2Keys[] = {"attn_logit_softcapping", "final_logit_softcapping",
                                            "rope.freq_base_swa"};
constexpr std::string_view kEncoderKeys[] = {"attention.causal", "classifier.output_labels"};
constexpr std::string_view kGptOssKeys[] = {"rope.freq_base_swa"};
constexpr std::string_view kDeepseek2Keys[] = {
    "attention.q_lora_rank",      "attention.kv_lora_rank",    "attention.key_length_mla",
    "attention.value_length_mla", "leading_dense_block_count", "expert_shared_count",
    "expert_group_count",         "expert_group_used_count",   "rope.scaling.yarn_log_multiplier"};
constexpr std::string_view kGemma3Keys[] = {"final_logit_softcapping", "rope.freq_base_swa"};

constexpr Architecture kArchitectures[] = {
    {.name = "llama",  // and Mistral before its third version
     .rotary = RotaryLayout::kAdjacent,
     .required = kPlain,
     .optional = kLlamaBias,
     .rope_factors = true,
     .context_factors = true,
     .window = {.known = true}},
    {.name = "mistral3",
     .rotary = RotaryLayout::kAdjacent,
     .required = kPlain,
     .optional = kLlamaBias,
     .keys = kMistral3Keys,
     .rope_factors = true,
     .context_factors = true},
    {.name = "qwen2",
     .rotary = RotaryLayout::kHalves,
     .required = kPlain,
     .optional = kQkvBias,
     .output_bias = true},
    {.name = "qwen3",
     .rotary = RotaryLayout::kHalves,
     .required = kPlain | kQkNorms,
     .optional = kQkvBias},
    {.name = "gemma2",
     .rotary = RotaryLayout::kHalves,
     .feed_forward = FeedForward::kGeGlu,
     .required = kPlain | kPostNorms,
     .optional = kQkvBias,
     .keys = kGemma2Keys,
     .scale_embeddings = true,
     .window = {.known = true, .period = 2, .size = 4096, .rope = WindowRope::kOwnBase},
     .score_cap = 50,
     .logit_cap = 30,
     .wide_scale_layers = 46},
    {.name = "gemma3",
     .rotary = RotaryLayout::kHalves,
     .feed_forward = FeedForward::kGeGlu,
     .required = kPlain | kPostNorms | kQkNorms,
     .optional = kQkvBias,
     .keys = kGemma3Keys,
     .scale_embeddings = true,
     .window = {.known = true, .period = 6, .rope = WindowRope::kUnscaledOwnBase},
     .wide_scale_layers = 62},
    {.name = "phi3",  // and Phi-4
     .rotary = RotaryLayout::kHalves,
     .required = kPlain,
     .optional = kQkvBias,
     .fused = kPhi3Fused,
     .context_factors = true,
     .window = {.known = true}},
    {.name = "olmo2",  // and OLMo 3
     .rotary = RotaryLayout::kHalves,
     .required = kAttention | kFeedForward | kPostNorms | kQkNorms,
     .optional = kQkvBias,
     .wide_qk_norm = true,
     .window = {.known = true, .period = 4, .rope = WindowRope::kUnscaled}},
    {.name = "granite",
     .rotary = RotaryLayout::kAdjacent,
     .required = kPlain,
     .optional = kLlamaBias,
     .keys = kGraniteKeys,
     .rope_factors = true,
     .context_factors = true,
     .rope_switch = true},
    {.name = "smollm3",
     .rotary = RotaryLayout::kAdjacent,
     .required = kPlain,
     .optional = kQkvBias,
     .unrotated_period = 4},
    {.name = "qwen3moe",
     .rotary = RotaryLayout::kHalves,
     .required = kAttention | kExperts | kPreNorms | kQkNorms,
     .optional = kQkvBias,
     .gating = Gating::kNormalisedSoftmax},
    {.name = "gpt-oss",
     .rotary = RotaryLayout::kHalves,
     .feed_forward = FeedForward::kClampedSwiGlu,
     .required = kAttention | kExperts | kExpertsBias |
                 tensor_set(T::kAttnNorm, T::kSinks, T::kOutBias, T::kPostAttnNorm),
     .optional = kQkvBias,
     .keys = kGptOssKeys,
     .window = {.known = true, .period = 2, .rope = WindowRope::kOwnBase},
     .gating = Gating::kSoftmaxOfChosen,
     .ffn_norm = LayerTensor::kPostAttnNorm},
    {.name = "bert",  // and RoBERTa, which converters write under this name
     .rotary = RotaryLayout::kNone,
     .feed_forward = FeedForward::kGelu,
     .required = kAttention | tensor_set(T::kUp, T::kDown) | kEncoderNorms,
     .optional = kQkvBias | tensor_set(T::kOutBias, T::kUpBias, T::kDownBias),
     .fused = kEncoderFused,
     .keys = kEncoderKeys,
     .key_format = Format::kF32,
     .value_format = Format::kF32,
     .encoder = true,
     .learned_positions = true},
    {.name = "nomic-bert",
     .rotary = RotaryLayout::kHalves,
     .required = kAttention | kFeedForward | kEncoderNorms,
     .optional = kQkvBias | tensor_set(T::kOutBias),
     .fused = kEncoderFused,
     .keys = kEncoderKeys,
     .key_format = Format::kF32,
     .value_format = Format::kF32,
     .encoder = true},
    {.name = "deepseek2",
     .rotary = RotaryLayout::kAdjacent,
     .required = kLatentAttention | kPreNorms | kExperts | kSharedExperts,
     .optional = tensor_set(T::kChoiceBias),
     .keys = kDeepseek2Keys,
     .gating = Gating::kOfFile,
     .latent = true},
};

}  // namespace

std::span<const LayerTensorSpec> layer_tensor_specs() { return kSpecs; }

TensorChoice expert_choice() {
  return {kExperts | kExpertsBias | kSharedExperts | tensor_set(T::kChoiceBias), kFeedForward};
}

TensorChoice query_rank_choice() { return {kQueryRank, tensor_set(T::kQ)}; }

std::string supported_architectures() {
  std::string list;
  for (const Architecture& row : kArchitectures) list += cat(list.empty() ? "" : ", ", row.name);
  return list;
}

Result<const Architecture*> find_architecture(std::string_view name) {
  for (const Architecture& row : kArchitectures) {
    if (name == row.name) return &row;
  }
  return error(Code::kUnsupported, "architecture '", name.substr(0, 64),
               "' is not supported; supported are ", supported_architectures());
}

}  // namespace heed
