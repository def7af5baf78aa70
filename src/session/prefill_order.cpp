#include "session/prefill_order.h"

#include <algorithm>

#include "base/text.h"
#include "session/graph_cache.h"
#include "session/rotary_table.h"

namespace heed {
namespace {

constexpr PrefillOrder kOrders[] = {PrefillOrder::kAuto, PrefillOrder::kTokenMajor,
                                    PrefillOrder::kLayerMajor};

// Below that, layer-major order is not worth what it loses: a cancel leaves nothing of the prompt.
constexpr uint64_t kWorthwhile = 4u << 20;

}  // namespace

const char* prefill_order_name(PrefillOrder order) {
  switch (order) {
    case PrefillOrder::kAuto: return "auto";
    case PrefillOrder::kTokenMajor: return "token";
    case PrefillOrder::kLayerMajor: return "layer";
  }
  return "?";
}

Result<PrefillOrder> parse_prefill_order(std::string_view name) {
  for (const PrefillOrder order : kOrders) {
    if (name == prefill_order_name(order)) return order;
  }
  return error(Code::kInvalidArgument, "prefill order is '", name.substr(0, 64),
               "', must be auto, token or layer");
}

GraphShape chunk_shape(int rows, bool last, bool all_logits) {
  if (all_logits) return {.rows = rows, .output = StepOutput::kHidden};
  if (last) return {.rows = rows, .outputs = 1, .output = StepOutput::kLogits};
  return {.rows = rows};
}

GraphShape layer_shape(const Hyperparameters& hyper, int layer, const GraphShape& chunk) {
  GraphShape shape = chunk;
  shape.first_layer = layer;
  shape.end_layer = layer + 1;
  if (shape.end_layer < hyper.layers) {
    shape.output = StepOutput::kHidden;
    shape.outputs = 0;
  }
  return shape;
}

Result<PromptGraphs> measure_prompt_graphs(const Hyperparameters& hyper,
                                           const ModelWeights& weights, int threads,
                                           const EngineOptions& engine, int rows, bool all_logits,
                                           const AdaptedKey& adapted) {
  std::vector<LayerOp> ops(static_cast<size_t>(hyper.layers));
  const auto measure = [&](GraphShape shape) -> Result<uint64_t> {
    shape.adapted = adapted;
    HEED_ASSIGN(const auto graph, StepGraph::build(hyper, weights, ops.data(), nullptr, shape));
    return StepGraph::measure(*graph, threads);
  };
  const GraphShape chunk = chunk_shape(rows, true, all_logits);
  PromptGraphs graphs;
  HEED_ASSIGN(graphs.token_major, measure(chunk));
  // The prompt's tail beside it, unless places for small graphs are counted anyway.
  if (engine.max_sequences == 1 && rows > GraphCache::kSmallRows) {
    HEED_ASSIGN(const uint64_t tail, measure(chunk_shape(GraphCache::kSmallRows, true, false)));
    graphs.token_major += tail;
  }
  for (int layer = 0; layer < hyper.layers; ++layer) {
    HEED_ASSIGN(const uint64_t bytes, measure(layer_shape(hyper, layer, chunk)));
    graphs.layer_major = std::max(graphs.layer_major, bytes);
  }
  return graphs;
}

uint64_t filling_bytes(const Hyperparameters& hyper, int64_t tokens) {
  const auto rows = static_cast<uint64_t>(tokens);
  return rows * static_cast<uint64_t>(hyper.embd) * sizeof(float) + rotary_bytes(hyper, tokens);
}

PrefillOrder cheaper_order(const Hyperparameters& hyper, const EngineOptions& engine,
                           const PromptGraphs& graphs, int64_t tokens) {
  // One chunk leaves nothing for another order.
  if (tokens <= engine.chunk) return PrefillOrder::kTokenMajor;
  const uint64_t layer_major = graphs.layer_major + filling_bytes(hyper, tokens);
  return layer_major + kWorthwhile < graphs.token_major ? PrefillOrder::kLayerMajor
                                                        : PrefillOrder::kTokenMajor;
}

}  // namespace heed
