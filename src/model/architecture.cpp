#include "model/architecture.h"

#include "base/text.h"

namespace heed {
namespace {

using T = LayerTensor;
using S = Size;

constexpr LayerTensorSpec kSpecs[kLayerTensors] = {
    {T::kAttnNorm, "attn_norm.weight", S::kEmbd, S::kNone},
    {T::kQ, "attn_q.weight", S::kEmbd, S::kQ},
    {T::kK, "attn_k.weight", S::kEmbd, S::kK},
    {T::kV, "attn_v.weight", S::kEmbd, S::kV},
    {T::kQBias, "attn_q.bias", S::kQ, S::kNone},
    {T::kKBias, "attn_k.bias", S::kK, S::kNone},
    {T::kVBias, "attn_v.bias", S::kV, S::kNone},
    {T::kQNorm, "attn_q_norm.weight", S::kDk, S::kNone},
    {T::kKNorm, "attn_k_norm.weight", S::kDk, S::kNone},
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
    {T::kPostFfnNorm, "post_ffw_norm.weight", S::kEmbd, S::kNone},
};

constexpr TensorSet kPlain =
    tensor_set(T::kAttnNorm, T::kQ, T::kK, T::kV, T::kOut, T::kFfnNorm, T::kGate, T::kUp, T::kDown);
constexpr TensorSet kQkvBias = tensor_set(T::kQBias, T::kKBias, T::kVBias);
constexpr TensorSet kFfnBias = tensor_set(T::kGateBias, T::kUpBias, T::kDownBias);

constexpr Architecture kArchitectures[] = {
    {.name = "llama",
     .rotary = RotaryLayout::kAdjacent,
     .feed_forward = FeedForward::kSwiGlu,
     .required = kPlain,
     .optional = kQkvBias | tensor_set(T::kOutBias) | kFfnBias,
     .output_bias = false,
     .rope_factors = true,
     .scale_embeddings = false,
     .window_period = 0,
     .wide_scale_layers = 0},
    {.name = "qwen2",
     .rotary = RotaryLayout::kHalves,
     .feed_forward = FeedForward::kSwiGlu,
     .required = kPlain,
     .optional = kQkvBias,
     .output_bias = true,
     .rope_factors = false,
     .scale_embeddings = false,
     .window_period = 0,
     .wide_scale_layers = 0},
    {.name = "gemma3",
     .rotary = RotaryLayout::kHalves,
     .feed_forward = FeedForward::kGeGlu,
     .required = kPlain | tensor_set(T::kQNorm, T::kKNorm, T::kPostAttnNorm, T::kPostFfnNorm),
     .optional = kQkvBias,
     .output_bias = false,
     .rope_factors = false,
     .scale_embeddings = true,
     .window_period = 6,
     .wide_scale_layers = 62},
};

}  // namespace

std::span<const LayerTensorSpec> layer_tensor_specs() { return kSpecs; }

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
