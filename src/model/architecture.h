// Architectures as data: one row says how a model of that name differs from the plain decoder
// (norm, attention, norm, gated feed-forward) or from the plain encoder (attention, norm,
// feed-forward, norm). The graph builder reads the row; no code is written
// per model.
#pragma once

#include <array>
#include <cstddef>
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
  kQDown,
  kQDownNorm,
  kQUp,
  kLatent,
  kLatentNorm,
  kKeyUp,
  kK,
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kSinks,
  kValueUp,
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
  kRouter,
  kRouterBias,
  kChoiceBias,
  kGateExperts,
  kUpExperts,
  kDownExperts,
  kGateExpertsBias,
  kUpExpertsBias,
  kDownExpertsBias,
  kGateShared,
  kUpShared,
  kDownShared,
  kPostFfnNorm,
  kAttnOutNorm,
  kAttnOutNormBias,
  kLayerOutNorm,
  kLayerOutNormBias,
};
inline constexpr int kLayerTensors = 44;

// Sizes that a tensor's shape is made of. kQNorm, kKNorm: of a head, or of the whole projection.
enum class Size : uint8_t {
  kNone,
  kEmbd,
  kQ,
  kK,
  kV,
  kAttn,
  kFf,
  kQNorm,
  kKNorm,
  kHeads,
  kExperts,
  kQRank,
  kLatent,     // what values are made of
  kLatentKey,  // that and the turned dims
  kKeyPart,    // of a head, what does not turn
  kValue,      // of a head
  kSharedFf,
};

struct LayerTensorSpec {
  LayerTensor tensor;
  const char* name;          // "attn_q.weight", behind "blk.N."
  Size in;                   // ne[0]; of a vector, its length
  Size out;                  // ne[1]; kNone: a vector
  Size count = Size::kNone;  // the last dimension of as many matrices or vectors; kNone: one
};
std::span<const LayerTensorSpec> layer_tensor_specs();  // [kLayerTensors], by enum value

using TensorSet = uint64_t;  // bit i: LayerTensor i
constexpr TensorSet tensor_set(auto... tensors) {
  return (TensorSet{0} | ... | (TensorSet{1} << static_cast<int>(tensors)));
}

enum class FeedForward : uint8_t { kSwiGlu, kGeGlu, kClampedSwiGlu, kGelu };  // kGelu: no gate

// How a router's logits become shares of the chosen experts, under the numbers of the key
// expert_gating_func. Softmax over all, divided by the sum over the chosen, is softmax over the
// chosen: both names stand for one formula, unless a bias or groups have a part in the choice.
enum class Gating : uint8_t {
  kNone = 0,
  kNormalisedSoftmax = 1,
  kSigmoid = 2,
  kSoftmaxOfChosen = 3,
  kOfFile,  // whatever the key says, with the keys of the choice beside it
};

// A tensor of the file that holds the outputs of several, one behind the other. Where a file has
// it, its parts are not stored alone.
struct FusedTensor {
  const char* name;
  std::array<LayerTensor, 3> parts;
  size_t count;
};

// How layers turn that see a window only.
enum class WindowRope : uint8_t {
  kShared,           // as the others
  kOwnBase,          // from a base of their own, if the file has one; scaled as the others
  kUnscaledOwnBase,  // from a base of their own (10,000 where the file has none), not scaled
  kUnscaled,         // from the base of the others, neither scaled nor lengthened
};

struct WindowRule {
  bool known = false;  // else a file that asks for a window is refused
  int period = 0;      // every period-th layer sees everything; 0: no layer does
  int size = 0;        // where the file does not say; 0: no window
  WindowRope rope = WindowRope::kShared;
};

struct Architecture {
  const char* name;
  RotaryLayout rotary;
  FeedForward feed_forward = FeedForward::kSwiGlu;
  TensorSet required = 0;
  TensorSet optional = 0;                       // applied where the file has them
  std::span<const FusedTensor> fused = {};      // that a file may have
  std::span<const std::string_view> keys = {};  // of its section that not every one has
  bool output_bias = false;                     // may have output.bias
  bool rope_factors = false;      // may have rope_freqs.weight: divisors of all its frequencies
  bool context_factors = false;   // may have rope_factors_long.weight and _short: by the context
  bool scale_embeddings = false;  // by sqrt(embedding length)
  bool wide_qk_norm = false;      // q and k are normed whole, not head by head
  WindowRule window = {};
  bool rope_switch = false;  // rope.scaling.finetuned = false: nothing turns
  int unrotated_period = 0;  // every such layer does not turn q and k; 0: all do
  // Where the file does not say: scores and logits x become cap * tanh(x / cap); 0: they do not.
  float score_cap = 0, logit_cap = 0;
  // A model of this many layers scales scores by 1/sqrt(embedding length / heads) instead of
  // 1/sqrt(dk): Gemma's 27B say so in their papers' configurations, not in the file. 0 = none.
  int wide_scale_layers = 0;
  // Keys with a large common part lose what tells them apart in bf16's 8 bits (docs/numerics.md).
  // An encoder's are read by one pass and gone: exact ones cost no memory that matters.
  Format key_format = Format::kBf16, value_format = Format::kBf16;
  Gating gating = Gating::kNone;  // kNone: no experts
  // Keys and values are made of one vector a token, whose place in the store both share: queries
  // are turned into its space, and what they read is turned back (arXiv:2405.04434).
  bool latent = false;
  LayerTensor ffn_norm = LayerTensor::kFfnNorm;  // the norm before the feed-forward
  // Every token of a text sees all of it; the residual itself is normed behind attention and
  // feed-forward, with a bias; rows come out, no logits.
  bool encoder = false;
  bool learned_positions = false;  // a row of a table is added to each token's; encoders only
};

// What a layer with experts requires and a dense one of the same model does not, and the other way
// round; and the same of queries that go through a rank of their own.
struct TensorChoice {
  TensorSet with, without;
};
TensorChoice expert_choice();
TensorChoice query_rank_choice();

// Errors: kUnsupported with the supported list.
Result<const Architecture*> find_architecture(std::string_view name);
std::string supported_architectures();  // "llama, mistral3, qwen2, ..."

}  // namespace heed
