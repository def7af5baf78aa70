// What a run would take, before any weight is loaded.
#include <algorithm>
#include <limits>
#include <memory>
#include <set>

#include "base/guard.h"
#include "base/text.h"
#include "heed/attention.h"
#include "heed/engine.h"
#include "kernels/format_ops.h"
#include "model/gguf_file.h"
#include "model/hyperparameters.h"
#include "model/library_log.h"
#include "model/threads.h"
#include "model/weights.h"
#include "session/available_memory.h"
#include "session/step_graph.h"

namespace heed {
namespace {

// Code, vocabulary, sampler and templates: SmolLM2 (49K tokens) takes 19 MiB of vocabulary, Gemma 3
// (262K) 44 MiB (measured), which is 200 bytes a token; the rest of the process about 24 MiB.
constexpr uint64_t kFixedBytes = 24u << 20;
constexpr uint64_t kVocabularyBytesPerToken = 200;
// Arenas grow by 2 MiB, so the last one of a size class is empty on average by half.
constexpr uint64_t kArenaSlack = 2u << 20;
// A page costs its bytes and its header; a list its table entry.
constexpr uint64_t kPageOverhead = 32;

uint64_t page_bytes(const Hyperparameters& hyper, const EngineOptions& options, Isa isa) {
  return kernels::format_ops(isa, options.k.value_or(hyper.arch->keys)).k_bytes(hyper.dk) +
         kernels::format_ops(isa, options.v.value_or(Format::kBf16)).v_bytes(hyper.dv) +
         kPageOverhead;
}

uint64_t lists_of(const Hyperparameters& hyper) {
  uint64_t lists = 0;
  for (const LayerHyper& layer : hyper.layer) lists += static_cast<uint64_t>(layer.kv_heads);
  return lists;
}

struct Costs {
  uint64_t weights = 0, compute = 0, fixed = 0;
  uint64_t page_row = 0;  // 64 more tokens in every list
};

uint64_t kv_bytes(const Costs& costs, int64_t tokens) {
  if (tokens <= 0) return 0;
  const auto pages = static_cast<uint64_t>((tokens + kPageTokens - 1) / kPageTokens);
  return pages * costs.page_row + kArenaSlack;
}

Result<uint64_t> workspace_bytes(const Hyperparameters& hyper, int rows, int threads, Isa isa,
                                 int64_t tokens) {
  Workspace workspace(isa, threads);
  for (const LayerHyper& layer : hyper.layer) {
    HEED_TRY(workspace.reserve(rows, layer.heads, layer.kv_heads, hyper.dk, hyper.dv, tokens));
  }
  return workspace.bytes();
}

Result<Costs> costs_of(const GgufFile& file, const Hyperparameters& hyper,
                       const ModelOptions& model, const EngineOptions& engine, int64_t tokens) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  HEED_ASSIGN(const auto weights, ModelWeights::shapes_only(file, hyper, model));
  Costs costs;
  costs.weights = weights->mapped_bytes() + weights->owned_bytes();
  costs.fixed = kFixedBytes + kVocabularyBytesPerToken * static_cast<uint64_t>(hyper.vocab);
  costs.page_row = lists_of(hyper) * page_bytes(hyper, engine, isa);
  // A full chunk that asks for its last row's logits, and the decode graph, are held together.
  const int rows = static_cast<int>(std::clamp<int64_t>(tokens, 1, engine.chunk));
  // An exact multiple of the chunk has no tail; any other prompt also keeps the graph of its tail,
  // with memory of its own up to 64 rows.
  for (const int graph_rows : std::set<int>{rows, std::min(rows, 64), 1}) {
    const GraphShape shape{.rows = graph_rows, .outputs = 1, .output = StepOutput::kLogits};
    std::vector<LayerOp> ops(static_cast<size_t>(hyper.layers));
    HEED_ASSIGN(auto graph, StepGraph::build(hyper, *weights, ops.data(), nullptr, shape));
    costs.compute += StepGraph::measure(*graph, model.threads);
  }
  HEED_ASSIGN(const uint64_t scratch, workspace_bytes(hyper, rows, model.threads, isa, tokens));
  costs.compute += LinearWorkspace::bytes_of(weights->most_inputs(), model.threads);
  costs.compute += scratch + static_cast<uint64_t>(hyper.vocab) * sizeof(float);
  return costs;
}

}  // namespace

Result<MemoryPlan> predict_memory(const std::string& path, const ModelOptions& model_options,
                                  const EngineOptions& engine, int64_t tokens) {
  if (tokens < 0) return error(Code::kInvalidArgument, "a run of ", tokens, " tokens");
  if (engine.chunk < 1 || engine.chunk > 8192) {
    return error(Code::kOutOfRange, "chunk is ", engine.chunk, ", must be 1 to 8192");
  }
  if (engine.context < 0 || engine.context > limits::kContext) {
    return error(Code::kOutOfRange, "the context is ", engine.context, ", must be 0 to ",
                 limits::kContext);
  }
  route_library_logs();
  return guarded("planning memory", [&]() -> Result<MemoryPlan> {
    ModelOptions model = model_options;
    HEED_ASSIGN(model.threads, resolve_threads(model.threads));
    HEED_ASSIGN(const auto file, GgufFile::open(path));
    Result<Hyperparameters> hyper = Hyperparameters::read(*file);
    if (!hyper.is_ok()) return hyper.status().with_context(path);
    HEED_ASSIGN(const Costs costs, costs_of(*file, *hyper, model, engine, tokens));
    MemoryPlan plan;
    plan.weights = costs.weights;
    plan.compute = costs.compute;
    plan.kv = kv_bytes(costs, tokens);
    plan.peak = plan.weights + plan.compute + plan.kv + costs.fixed;
    // Unknown is no reason to refuse: the store then grows until the system says no.
    plan.available = available_memory();
    constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
    const uint64_t available = plan.available.value_or(kUnlimited);
    const uint64_t context =
        static_cast<uint64_t>(engine.context > 0 ? engine.context : hyper->context);
    const uint64_t base = plan.peak - plan.kv + kArenaSlack;
    const uint64_t left = available - std::min(available, base);
    plan.longest_prompt = static_cast<int64_t>(
        std::min<uint64_t>(context, left / std::max<uint64_t>(costs.page_row, 1) * kPageTokens));
    return plan;
  });
}

}  // namespace heed
