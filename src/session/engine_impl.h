// The inside of Engine, shared by engine.cpp (sequences, reports) and engine_steps.cpp (steps).
#pragma once

#include <ggml-cpu.h>

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "heed/engine.h"
#include "model/model_impl.h"
#include "session/adaptations.h"
#include "session/graph_cache.h"
#include "session/step.h"

namespace heed {

struct ThreadpoolFree {
  void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
};

// Of the options that need no model to be judged.
Status check_ranges(const EngineOptions& options);

using Logits = std::shared_ptr<std::vector<float>>;  // [vocab]; shared by forks

struct Engine::Impl {
  // Validated options; the threads are the model's.
  static Result<std::unique_ptr<Impl>> create(std::shared_ptr<Model> model,
                                              const EngineOptions& options);

  const Hyperparameters& hyper() const { return *model->impl().hyper; }

  Status check_tokens(std::span<const Token> tokens) const;
  // Room for n more tokens in the context; the message has both numbers and the way out.
  Status check_context(SeqId seq, int64_t n) const;
  Status check_sequence(SeqId seq) const;

  // Takes up a sequence that the store has just made, or drops it there when memory is short.
  Status adopt(SeqId seq, Logits held, std::shared_ptr<const Adaptation> adaptation = nullptr);

  // One step over these sequences: transactions, graph, commit or abort. `made` receives the graph
  // whose result holds the outputs.
  Status run_step(std::span<const SeqSpan> seqs, GraphShape shape, const CancelToken* cancel,
                  StepGraph** made);
  Status prepare_step(std::span<const SeqSpan> seqs, StepGraph& graph);
  // Where the logits of the next token of `seq` will go: its own memory, or fresh memory where
  // forks share that. They are written when the step has succeeded, so a failed one changes none.
  Result<Logits> logits_target(SeqId seq) const;

  Status prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options);
  Status prefill_chunk(SeqId seq, std::span<const Token> tokens, bool last,
                       const PrefillOptions& options, int64_t first_row);
  // Logits of every hidden row of a chunk, slice after slice.
  Status emit_logits(StepGraph& graph, std::vector<float>& last, const PrefillOptions& options,
                     int64_t first_row);
  // Ends the transactions of a step's first `open` sequences.
  void close(std::span<const SeqSpan> seqs, size_t open, bool keep) noexcept;
  Status decode(std::span<const SeqToken> tokens, const CancelToken* cancel);

  std::shared_ptr<Model> model;
  EngineOptions options;
  std::unique_ptr<ggml_threadpool, ThreadpoolFree> pool;
  std::unique_ptr<Store> store;
  std::unique_ptr<Step> step;
  std::unique_ptr<LinearWorkspace> linears;
  std::unique_ptr<Adaptations> adaptations;
  std::unique_ptr<GraphCache> graphs;
  std::unordered_map<SeqId, Logits> logits;  // null: none yet
  std::vector<float> hidden;                 // [chunk, embd], only with on_logits

  // Of the report, since reset_report.
  double prefill_s = 0, decode_s = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0, steps = 0, decode_builds = 0;
  int64_t builds_at_reset = 0;
};

}  // namespace heed
