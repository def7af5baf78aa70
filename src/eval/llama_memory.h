// What llama.cpp would take for a file and a configuration, before any weight is read: llama.cpp
// loads the header and simulates its own allocations.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/llama_baseline.h"
#include "heed/status.h"

namespace heed::eval {

struct LlamaMemory {
  uint64_t weights = 0;  // with repacked copies, and the vocabulary
  uint64_t context = 0;  // the cache, taken at once, and adapters
  uint64_t compute = 0;  // graph buffers and the rows of logits

  uint64_t of_context() const { return context + compute; }
  uint64_t total() const { return weights + of_context(); }
};

// One answer for each of `options`, all with the same `repack`. `every_row`: logits of every prompt
// row are asked for, not only of the last.
Result<std::vector<LlamaMemory>> predict_llama_memory(const std::string& path,
                                                      std::span<const LlamaOptions> options,
                                                      bool every_row = false);
Result<LlamaMemory> predict_llama_memory(const std::string& path, const LlamaOptions& options,
                                         bool every_row = false);

}  // namespace heed::eval
