// The two orders in which a prompt goes through the layers, and which one takes less memory.
#pragma once

#include <cstdint>

#include "heed/engine.h"
#include "model/hyperparameters.h"
#include "model/weights.h"
#include "session/step_graph.h"

namespace heed {

// What a chunk of `rows` tokens computes, the prompt's last one or another.
GraphShape chunk_shape(int rows, bool last, bool all_logits);
// And in one layer of it: hidden rows for the next one, or in the model's last what the chunk does.
GraphShape layer_shape(const Hyperparameters& hyper, int layer, const GraphShape& chunk);

// Bytes of the graphs that read a prompt; the pages and what every step takes come on top.
struct PromptGraphs {
  uint64_t token_major = 0;
  uint64_t layer_major = 0;  // of the largest layer: each takes the memory of the one before
};
// For a prompt of several chunks of `rows` tokens, or of one.
Result<PromptGraphs> measure_prompt_graphs(const Hyperparameters& hyper,
                                           const ModelWeights& weights, int threads,
                                           const EngineOptions& engine, int rows, bool all_logits,
                                           const AdaptedKey& adapted);

// What layer-major order keeps of every token of the prompt: its residual and its angles.
uint64_t filling_bytes(const Hyperparameters& hyper, int64_t tokens);

// The order of the lower peak; token-major, which keeps the chunks before a cancel, unless the
// other saves some MiB.
PrefillOrder cheaper_order(const Hyperparameters& hyper, const EngineOptions& engine,
                           const PromptGraphs& graphs, int64_t tokens);

}  // namespace heed
