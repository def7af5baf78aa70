// Architectures as data: one row says how a model of that name differs from the plain decoder
// (norm, attention, norm, gated feed-forward). The graph builder reads the row; no code is written
// per model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "heed/attention.h"
#include "heed/status.h"

namespace heed {

// Tensors of one layer, in the order of the computation.
enum class LayerTensor : uint8_t {
  kAttnNorm,
  kQ,
  kK,
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kOut,
  kOutBias,
  kPostAttnNorm,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kGateBias,
  kUpBias,
  kDownBias,
  kPostFfnNorm,
};
inline constexpr int kLayerTensors = 20;

// Sizes that a tensor's shape is made of.
enum class Size : uint8_t { kNone, kEmbd, kQ, kK, kV, kAttn, kFf, kDk };

struct LayerTensorSpec {
  LayerTensor tensor;
  const char* name;  // "attn_q.weight", behind "blk.N."
  Size in;           // ne[0]; of a vector, its length
  Size out;          // ne[1]; kNone: a vector
};
std::span<const LayerTensorSpec> layer_tensor_specs();  // [kLayerTensors], by enum value

using TensorSet = uint32_t;  // bit i: LayerTensor i
constexpr TensorSet tensor_set(auto... tensors) {
  return (TensorSet{0} | ... | (TensorSet{1} << static_cast<int>(tensors)));
}

enum class FeedForward : uint8_t { kSwiGlu, kGeGlu };

struct Architecture {
  const char* name;
  RotaryLayout rotary;
  FeedForward feed_forward;
  TensorSet required;
  TensorSet optional;     // applied where the file has them
  bool output_bias;       // may have output.bias
  bool rope_factors;      // may have rope_freqs.weight: divisors of the rotation's frequencies
  bool scale_embeddings;  // by sqrt(embedding length)
  int window_period;  // every window_period-th layer sees everything, the others a window; 0 = none
  // A model of this many layers scales scores by 1/sqrt(embedding length / heads) instead of
  // 1/sqrt(dk): Gemma 3 27B says so in its paper's configuration, not in the file. 0 = none.
  int wide_scale_layers;
  // Keys with a large common part lose what tells them apart in bf16's 8 bits (docs/numerics.md).
  Format keys = Format::kBf16;
};

// Errors: kUnsupported with the supported list.
Result<const Architecture*> find_architecture(std::string_view name);
std::string supported_architectures();  // "llama, qwen2, gemma3"

}  // namespace heed
