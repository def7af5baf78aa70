// Adapters and control vectors as the nodes of a graph use them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "heed/adapters.h"
#include "linear/weight.h"
#include "model/adapter_file.h"
#include "model/hyperparameters.h"

struct ggml_tensor;

namespace heed {

class ModelWeights;

// What an adapter can change, numbered: the tensors of the layers, the head, the table of
// embeddings. A head that shares the table's numbers is a matrix of its own here, as it is in
// training: adapting one leaves the other.
inline int target_of(int layer, LayerTensor tensor) {
  return layer * kLayerTensors + static_cast<int>(tensor);
}
inline int head_target(int layers) { return layers * kLayerTensors; }
inline int table_target(int layers) { return head_target(layers) + 1; }
inline int target_count(int layers) { return head_target(layers) + 2; }
// The tensor of the model, or null where it has none.
const ggml_tensor* target_tensor(const ModelWeights& weights, int target);

class LoraAdapter {
 public:
  struct Factors {
    const PackedWeight* a = nullptr;  // [rank, in], null of the table
    const float* table = nullptr;     // [vocabulary, rank]
    const PackedWeight* b = nullptr;  // [out, rank]; null: this target has none
    int64_t rank = 0;
    int64_t inputs = 0, outputs = 0;  // of the target
    float scale = 1;                  // alpha / rank
  };

  // For a model of these numbers, whose file says which tensors it has; the hash is of the
  // adapter's. Without `with_data` only shapes, to plan with.
  static Result<std::shared_ptr<const LoraAdapter>> make(const GgufFile& adapter,
                                                         const GgufFile& model,
                                                         const Hyperparameters& hyper,
                                                         std::string sha256, bool with_data);

  const AdapterInfo& info() const { return info_; }
  const std::string& sha256() const { return sha256_; }

  // Null where the adapter leaves the target alone.
  const Factors* find(int target) const {
    const Factors& factors = targets_[static_cast<size_t>(target)];
    return factors.b == nullptr ? nullptr : &factors;
  }
  int targets() const { return static_cast<int>(targets_.size()); }
  uint64_t bytes() const { return bytes_; }

 private:
  friend class AdapterMaker;
  LoraAdapter() = default;

  AdapterInfo info_;
  std::string sha256_;
  std::vector<Factors> targets_;  // by target
  std::deque<PackedWeight> packed_;
  std::deque<std::vector<float>> tables_;
  AlignedMemory memory_;
  uint64_t bytes_ = 0;
};

class ControlVector {
 public:
  struct Source {
    std::string sha256;
    float scale = 1;
  };
  int embd = 0;
  LayerRange range;  // resolved
  std::vector<Source> sources;
  std::vector<std::vector<float>> directions;  // [layers] of [embd], or empty: nothing is added
};

}  // namespace heed
