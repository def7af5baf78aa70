// The tensors of a model where products can use them: packed for heed's products, in the mapped
// file, rearranged by ggml for its own kernels, or dequantised to fp32 in memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "heed/model.h"
#include "linear/weight.h"
#include "model/hyperparameters.h"

struct ggml_tensor;

namespace heed {

struct LayerWeights {
  std::array<ggml_tensor*, kLayerTensors> tensors{};  // null where the file has none
  ggml_tensor* operator[](LayerTensor t) const { return tensors[static_cast<int>(t)]; }
};

class ModelWeights {
 public:
  // `file` and `options` outlive the call; plain weights point into `file`, which must outlive
  // this.
  static Result<std::unique_ptr<ModelWeights>> load(const GgufFile& file,
                                                    const Hyperparameters& hyper,
                                                    const ModelOptions& options);
  // Shapes and types without data, to size graphs before anything is loaded.
  static Result<std::unique_ptr<ModelWeights>> shapes_only(const GgufFile& file,
                                                           const Hyperparameters& hyper,
                                                           const ModelOptions& options);
  ~ModelWeights();
  ModelWeights(const ModelWeights&) = delete;
  ModelWeights& operator=(const ModelWeights&) = delete;

  ggml_tensor* embeddings = nullptr;   // [vocab, embd], for the lookup of rows: never repacked
  ggml_tensor* output_norm = nullptr;  // [embd]
  ggml_tensor* head = nullptr;         // [vocab, embd]; encoders have neither
  ggml_tensor* head_bias = nullptr;    // [vocab] or null
  // Of an encoder, else null. Added to the embeddings: a row by position, and the first type's.
  ggml_tensor* positions = nullptr;        // [context, embd]
  ggml_tensor* token_types = nullptr;      // [types, embd]
  ggml_tensor* embeddings_norm = nullptr;  // [embd]
  ggml_tensor* embeddings_norm_bias = nullptr;
  std::vector<LayerWeights> layers;
  // Divisors of frequencies, [n_rot / 2] or empty: of every context, and by the context.
  std::vector<float> rope_factors, rope_factors_long, rope_factors_short;

  // What heed multiplies with for this tensor: one, or one per expert; nothing when ggml does.
  // Decoded weights stay in the file.
  std::span<const PackedWeight> packed_all(const ggml_tensor* weight) const;
  const PackedWeight* packed(const ggml_tensor* weight) const;  // the first, or null
  bool repacked(const ggml_tensor* weight) const;               // rearranged by ggml
  int64_t most_inputs() const;  // of a row of a packed weight; 0 without any

  uint64_t mapped_bytes() const;     // read from the file in place
  uint64_t looked_up_bytes() const;  // of those: only the rows of the tokens that come
  uint64_t owned_bytes() const;      // copies: packed, repacked, dequantised, vectors
  std::string linear_kind() const;   // "heed", "accurate + ggml plain", "ggml plain+repack"

 private:
  friend class WeightLoader;
  struct Storage;
  ModelWeights();
  std::unique_ptr<Storage> storage_;
};

}  // namespace heed
