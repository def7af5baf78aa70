// What the tensors of a model lie in. Private to weights.cpp and weight_loader.cpp.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/aligned.h"
#include "model/linear_choice.h"
#include "model/weights.h"

namespace heed {

struct ModelWeights::Storage {
  GgmlContext tensors;                // of everything but repacked weights
  std::vector<GgmlContext> repacked;  // one per buffer type
  std::vector<GgmlBuffer> buffers;
  std::vector<AlignedMemory> memory;
  std::unordered_map<const ggml_tensor*, std::vector<PackedWeight>> packed;  // by expert
  uint64_t mapped = 0;
  uint64_t looked_up = 0;
  uint64_t owned = 0;
  bool any_plain = false;
  bool any_repacked = false;
  bool dequantised = false;
  Linear own = Linear::kHeed;  // which of heed's products
};

}  // namespace heed
