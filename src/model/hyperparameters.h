// The numbers of a model, read from its file, checked against limits and against each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/engine.h"
#include "model/architecture.h"
#include "model/gguf_file.h"

namespace heed {

// Far above every known model and small enough that products of sizes fit 64 bits with room.
namespace limits {
inline constexpr int64_t kLayers = 512;
inline constexpr int64_t kEmbd = 1 << 17;
inline constexpr int64_t kHeads = 1024;
inline constexpr int64_t kGroup =
    64;  // query heads of one KV head: an item's head mask has 64 bits
inline constexpr int64_t kFf = 1 << 20;
inline constexpr int64_t kVocab = 1 << 22;
inline constexpr int64_t kContext = 1 << 28;
}  // namespace limits

// Frequencies of one rotation: theta_i(p) = p * scale * base^(-2i/n_rot) / factor_i. YaRN
// (arXiv:2309.00071) scales slow pairs only, fast ones not, and lengthens q and k a little.
struct Rope {
  double base = 10000;
  double scale = 1;
  bool factors = false;      // divided by rope_freqs.weight
  int64_t yarn_context = 0;  // positions that the model knew before YaRN; 0: no YaRN

  bool operator==(const Rope&) const = default;
};

struct LayerHyper {
  int heads = 0;
  int kv_heads = 0;
  int ff = 0;
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
  int n_rot = 0;  // leading dims of a head that turn
  int64_t context = 0;
  float norm_eps = 0;
  float attention_scale = 0;  // of q.k
  float embedding_scale = 1;
  bool tied_head = false;  // no output.weight: the embeddings serve as head
  std::vector<Rope> ropes;
  std::vector<LayerHyper> layer;

  int64_t size(Size what, int layer_index) const;

  // Errors: a missing key, a number out of its limits, a key that changes the mathematics and is
  // not handled, a tensor that is missing, misshaped or unknown.
  static Result<Hyperparameters> read(const GgufFile& file);
};

// What Model::inspect returns.
Result<ModelInfo> model_info(const GgufFile& file, const Hyperparameters& hyper);

}  // namespace heed
