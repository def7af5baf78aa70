// The numbers of a model, read from its file, checked against limits and against each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/model.h"
#include "linear/routing.h"
#include "model/architecture.h"
#include "model/gguf_file.h"

namespace heed {

// Far above every known model and small enough that products of sizes fit 64 bits with room.
namespace limits {
inline constexpr int64_t kLayers = 512;
inline constexpr int64_t kEmbd = 1 << 17;
inline constexpr int64_t kHeads = 1024;
inline constexpr int64_t kFf = 1 << 20;
inline constexpr int64_t kExperts = kMostExperts;
inline constexpr int64_t kVocab = 1 << 22;
inline constexpr int64_t kContext = 1 << 28;
}  // namespace limits

// Divisors of a rotation's frequencies, one a pair, that a file may hold.
enum class RopeFactors : uint8_t {
  kNone,
  kOne,        // rope_freqs.weight
  kByContext,  // rope_factors_long.weight in a context beyond the original one, else _short
};

// Frequencies of one rotation, theta_i(p) = p * scale * base^(-2i/n_rot) / factor_i, and what its
// turned pairs are multiplied by. YaRN (arXiv:2309.00071) scales slow pairs only, fast ones not.
struct Rope {
  bool turns = true;  // false: q and k stay as they are
  double base = 10000;
  double scale = 1;
  RopeFactors factors = RopeFactors::kNone;
  bool yarn = false;
  double yarn_fast = 32, yarn_slow = 1;  // turns within the original context
  double yarn_taken = 0;                 // share of YaRN's own length that is taken back
  double length = 1;                     // beside YaRN's own
  double yarn_scores = 0;                // share of YaRN's length whose square all scores grow by

  bool operator==(const Rope&) const = default;
};

struct LayerHyper {
  int heads = 0;
  int kv_heads = 0;
  int ff = 0;      // of one expert where the layer has experts
  int window = 0;  // keys in (p - window, p]; 0 = all
  int rope = 0;    // index into Hyperparameters::ropes
};

struct Hyperparameters {
  const Architecture* arch = nullptr;
  int layers = 0;
  int embd = 0;
  int dk = 0;
  int dv = 0;
  int vocab = 0;
  int n_rot = 0;  // dims of a head that turn: the first, of latent attention the last
  // Of a head as projections make it. Latent attention (Architecture::latent) stores the `latent`
  // values that all heads' keys and values are made of, and the turned dims behind them: dk of both
  // together, dv of the former.
  int head_k = 0, head_v = 0;
  int latent = 0;        // 0: no latent attention
  int q_rank = 0;        // of queries; 0: they have none
  int experts = 0;       // feed-forwards of a layer, of which each row takes some; 0: one for all
  int experts_used = 0;  // by a row
  int dense_layers = 0;  // the first ones, without experts
  int shared_ff = 0;     // of the feed-forward that every row takes beside its experts; 0: none
  RouterRule router;
  int64_t context = 0;
  int64_t original_context = 0;  // positions that it knew before its rotation was stretched
  float norm_eps = 0;
  float attention_scale = 0;  // of q.k
  float score_cap = 0;        // scores become cap * tanh(score / cap); 0: they do not
  float logit_cap = 0;        // and logits
  float embedding_scale = 1;
  float residual_scale = 1;  // of what attention and feed-forward add to the residual
  float logit_scale = 1;
  // Queries at position p are lengthened by 1 + this * ln(1 + floor(p / original context)).
  float query_temperature = 0;
  bool tied_head = false;  // no output.weight: the embeddings serve as head
  std::vector<Rope> ropes;
  std::vector<LayerHyper> layer;

  int64_t size(Size what, int layer_index) const;
  // Layers whose keys and values are held at a time: those of an encoder are gone with the layer.
  int stored_layers() const { return arch->encoder ? 1 : layers; }
  bool has_experts(int layer_index) const { return experts > 0 && layer_index >= dense_layers; }
  TensorSet required(int layer_index) const;
  TensorSet optional(int layer_index) const;  // applied where the file has them

  // Errors: a missing key, a number out of its limits, a key that changes the mathematics and is
  // not handled, a tensor that is missing, misshaped or unknown.
  static Result<Hyperparameters> read(const GgufFile& file);
};

// What Model::inspect returns.
Result<ModelInfo> model_info(const GgufFile& file, const Hyperparameters& hyper);

}  // namespace heed
