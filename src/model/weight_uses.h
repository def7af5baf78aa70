// Which kernel serves which tensor of a model, from the file's header alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/model.h"
#include "heed/status.h"

namespace heed {

struct WeightUse {
  std::string name;     // "blk.0.attn_q.weight"
  std::string type;     // as stored: "Q4_K"
  int64_t inputs = 0;   // a row; of a vector, all of it
  int64_t outputs = 1;  // rows
  int64_t experts = 1;  // as many matrices or vectors of that shape
  uint64_t file_bytes = 0;
  uint64_t resident_bytes = 0;  // in place, packed, rearranged or widened; 0 of a row lookup
  std::string kernel;           // "heed int8", "ggml plain", "ggml repack"; "row lookup", "vector"
};

struct ModelWeightUses {
  std::string linear;  // ModelInfo::linear of a model loaded with these options
  std::vector<WeightUse> weights;
};

// As Model::load would place them. A tensor with two uses (embeddings that serve as head) is there
// twice. Errors: those of Model::inspect, HEED_ISA.
Result<ModelWeightUses> list_weight_uses(const std::string& path, const ModelOptions& options);

}  // namespace heed
