// What a run would take, before any weight is loaded.
#include <algorithm>
#include <limits>
#include <memory>

#include "base/guard.h"
#include "base/text.h"
#include "heed/attention.h"
#include "heed/engine.h"
#include "kernels/format_ops.h"
#include "model/hyperparameters.h"
#include "model/library_log.h"
#include "model/split_set.h"
#include "model/threads.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "session/adaptations.h"
#include "session/available_memory.h"
#include "session/engine_impl.h"
#include "session/prefill_order.h"
#include "session/step_graph.h"

namespace heed {
namespace {

// Code, sampler and templates; the vocabulary comes on top.
constexpr uint64_t kFixedBytes = 24u << 20;
// Arenas grow by 2 MiB, so the last one of a size class is empty on average by half.
constexpr uint64_t kArenaSlack = 2u << 20;
// A page costs its bytes and its header; a list its table entry.
constexpr uint64_t kPageOverhead = 32;

uint64_t page_bytes(const Hyperparameters& hyper, const EngineOptions& options, Isa isa) {
  const Format k = options.k.value_or(hyper.arch->key_format);
  const Format v = options.v.value_or(hyper.arch->value_format);
  const size_t values = hyper.latent > 0 ? 0 : kernels::format_ops(isa, v).v_bytes(hyper.dv);
  return kernels::format_ops(isa, k).k_bytes(hyper.dk) + values + kPageOverhead;
}

uint64_t lists_of(const Hyperparameters& hyper) {
  uint64_t lists = 0;
  for (int i = 0; i < hyper.stored_layers(); ++i) {
    lists += static_cast<uint64_t>(hyper.layer[static_cast<size_t>(i)].kv_heads);
  }
  return lists;
}

// Looking a row up maps the 64 KiB of the file around it (Linux's fault_around_bytes).
constexpr uint64_t kLookedUpBytesPerToken = 64u << 10;

struct Costs {
  uint64_t weights = 0, compute = 0, fixed = 0;
  uint64_t looked_up = 0;  // a table of which only the rows of the run's tokens are read
  uint64_t page_row = 0;   // 64 more tokens in every list
  PromptGraphs prompt;     // beside `compute`
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

Status add_graph(const Hyperparameters& hyper, const ModelWeights& weights, int threads,
                 GraphShape shape, const AdaptedKey& adapted, uint64_t copies, Costs& costs) {
  shape.adapted = adapted;
  std::vector<LayerOp> ops(static_cast<size_t>(hyper.layers));
  HEED_ASSIGN(auto graph, StepGraph::build(hyper, weights, ops.data(), nullptr, shape));
  costs.compute += copies * StepGraph::measure(*graph, threads);
  return Status::ok();
}

// The graphs that the cache holds at a time. One sequence needs those of its prompt (a full chunk,
// and the tail, which an exact multiple of the chunk does not have) and the decode step. Several
// may fill the cache's small places with steps of up to max_sequences rows.
Status add_graphs(const Hyperparameters& hyper, const ModelWeights& weights, int threads,
                  const EngineOptions& engine, const PlannedRun& run, const AdaptedKey& adapted,
                  int rows, Costs& costs) {
  HEED_ASSIGN(costs.prompt, measure_prompt_graphs(hyper, weights, threads, engine, rows,
                                                  run.all_logits, adapted));
  if (run.all_logits) {
    HEED_ASSIGN(auto head,
                StepGraph::build_head(hyper, weights, nullptr, Engine::kLogitRows, adapted));
    costs.compute += StepGraph::measure(*head, threads);
    costs.compute +=
        static_cast<uint64_t>(rows) * static_cast<uint64_t>(hyper.embd) * sizeof(float);
  }
  const auto add = [&](int n, uint64_t copies) {
    const GraphShape shape{.rows = n, .outputs = n, .output = StepOutput::kLogits};
    return add_graph(hyper, weights, threads, shape, adapted, copies, costs);
  };
  if (engine.max_sequences > 1) {
    const int most = std::min(engine.max_sequences, GraphCache::kSmallRows) * run.verified;
    return add(std::min(most, GraphCache::kSmallRows), GraphCache::kSmallGraphs);
  }
  if (run.verified > 1) {  // drafts of every length up to that
    const auto lengths =
        std::min<uint64_t>(static_cast<uint64_t>(run.verified) - 1, GraphCache::kSmallGraphs);
    HEED_TRY(add(run.verified, lengths));
  }
  return rows == 1 ? Status::ok() : add(1, 1);
}

Result<Costs> costs_of(const GgufFile& file, const Hyperparameters& hyper,
                       const ModelOptions& model, const EngineOptions& engine,
                       const PlannedRun& run) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  HEED_ASSIGN(const auto weights, ModelWeights::shapes_only(file, hyper, model));
  Costs costs;
  // A file that is not mapped stays in memory, also what was packed or dequantised of it.
  const bool mapped = model.map && file.mapped();
  costs.looked_up = mapped ? weights->looked_up_bytes() : 0;
  costs.weights =
      (mapped ? weights->mapped_bytes() - costs.looked_up : file.size()) + weights->owned_bytes();
  costs.fixed = kFixedBytes + kVocabularyBytesPerToken * static_cast<uint64_t>(hyper.vocab);
  costs.page_row = lists_of(hyper) * page_bytes(hyper, engine, isa);
  const int rows = static_cast<int>(std::clamp<int64_t>(run.prompt, 1, engine.chunk));
  HEED_ASSIGN(const PlannedAdaptation adaptation,
              plan_adaptation(file, hyper, model.threads,
                              std::max(engine.chunk, engine.max_sequences), run));
  costs.weights += adaptation.weights;
  costs.compute += adaptation.compute;
  HEED_TRY(add_graphs(hyper, *weights, model.threads, engine, run, adaptation.key, rows, costs));
  HEED_ASSIGN(const uint64_t scratch,
              workspace_bytes(hyper, rows, model.threads, isa, run.prompt + run.answer));
  HEED_ASSIGN(const uint64_t selections,
              PromptSelection::bytes_of(hyper, engine.prefill.get(), rows, run.prompt + run.answer,
                                        model.threads));
  costs.compute += selections;
  costs.compute += LinearWorkspace::bytes_of(weights->most_inputs(), model.threads);
  costs.compute +=
      Step::bytes_of(hyper, model.threads, std::max(engine.chunk, engine.max_sequences));
  costs.compute += scratch + static_cast<uint64_t>(hyper.vocab) * sizeof(float) *
                                 static_cast<uint64_t>(engine.max_sequences);
  return costs;
}

Status check_plan(const EngineOptions& engine, const PlannedRun& run) {
  const int64_t most = limits::kContext;
  if (run.prompt < 0 || run.prompt > most || run.answer < 0 || run.answer > most) {
    return error(Code::kOutOfRange, "a run of ", run.prompt, " and ", run.answer,
                 " tokens, each must be 0 to ", most);
  }
  if (run.verified < 1 || run.verified > Engine::kLogitRows) {
    return error(Code::kOutOfRange, "a run that verifies ", run.verified,
                 " tokens a step, must be 1 to ", Engine::kLogitRows);
  }
  return check_ranges(engine);
}

}  // namespace

Result<MemoryPlan> predict_memory(const std::string& path, const ModelOptions& model_options,
                                  const EngineOptions& engine_options, const PlannedRun& run) {
  HEED_TRY(check_plan(engine_options, run));
  route_library_logs();
  return guarded("planning memory", [&]() -> Result<MemoryPlan> {
    ModelOptions model = model_options;
    HEED_ASSIGN(model.threads, resolve_threads(model.threads));
    HEED_ASSIGN(const auto file, open_model_file(path));
    Result<Hyperparameters> hyper = Hyperparameters::read(*file);
    if (!hyper.is_ok()) return hyper.status().with_context(path);
    EngineOptions engine = engine_options;
    HEED_TRY(settle_encoder(*hyper, engine));
    HEED_ASSIGN(const Costs costs, costs_of(*file, *hyper, model, engine, run));
    const auto tokens = static_cast<uint64_t>(run.prompt + run.answer);
    MemoryPlan plan;
    plan.weights = costs.weights + std::min(costs.looked_up, tokens * kLookedUpBytesPerToken);
    plan.kv = kv_bytes(costs, run.prompt + run.answer);
    const uint64_t rest = plan.weights + plan.kv + costs.fixed;
    const uint64_t token_major = costs.compute + costs.prompt.token_major;
    const uint64_t layer_major =
        costs.compute + costs.prompt.layer_major + filling_bytes(*hyper, run.prompt);
    plan.token_major_peak = rest + token_major;
    plan.layer_major_peak = rest + layer_major;
    plan.order = engine.prefill_order != PrefillOrder::kAuto
                     ? engine.prefill_order
                     : cheaper_order(*hyper, engine, costs.prompt, run.prompt);
    const bool by_layers = plan.order == PrefillOrder::kLayerMajor;
    plan.compute = by_layers ? layer_major : token_major;
    plan.peak = rest + plan.compute;
    // Unknown is no reason to refuse: the store then grows until the system says no.
    plan.available = available_memory();
    const uint64_t available = plan.available.value_or(std::numeric_limits<uint64_t>::max());
    const int64_t context = engine.context > 0 ? engine.context : hyper->context;
    const uint64_t base = costs.weights + costs.looked_up + costs.compute + costs.fixed +
                          (by_layers ? costs.prompt.layer_major : costs.prompt.token_major) +
                          kArenaSlack;
    const uint64_t page_row = costs.page_row + (by_layers ? filling_bytes(*hyper, kPageTokens) : 0);
    const uint64_t left = available - std::min(available, base);
    const uint64_t fits = left / std::max<uint64_t>(page_row, 1) * kPageTokens;
    const auto most = static_cast<int64_t>(std::min(static_cast<uint64_t>(context), fits));
    plan.longest_prompt = std::max<int64_t>(most - run.answer, 0);
    return plan;
  });
}

}  // namespace heed
