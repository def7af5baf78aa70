// The inside of Engine, shared by engine.cpp (sequences, reports) and engine_steps.cpp (steps).
#pragma once

#include <ggml-cpu.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "heed/engine.h"
#include "model/model_impl.h"
#include "session/adaptations.h"
#include "session/graph_cache.h"
#include "session/prefill_order.h"
#include "session/step.h"

namespace heed {

// Of the options that need no model to be judged.
Status check_ranges(const EngineOptions& options);
// An encoder reads a text in one step: the context bounds the chunk, not the other way round.
Status settle_encoder(const Hyperparameters& hyper, EngineOptions& options);
// The pages of a model with these options, whose formats are set.
StoreDesc describe_store(const Hyperparameters& hyper, const EngineOptions& options, Isa isa);

// Tokens of a verify(): a step has room for so many rows of logits.
inline int most_verified(const EngineOptions& options) {
  return std::min(Engine::kLogitRows, std::max(options.chunk, options.max_sequences));
}

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
  // The same, and it is not filling.
  Status check_settled(SeqId seq) const;
  // A layer-major prefill of it is under way: its layers differ in length.
  bool filling(SeqId seq) const { return store->filling(seq); }

  // Takes up a sequence that the store has just made, or drops it there when memory is short.
  Status adopt(SeqId seq, Logits held, std::vector<Token> held_tokens = {},
               std::shared_ptr<const Adaptation> adaptation = nullptr);
  // Room for the tokens of a step, so that noting them when it has succeeded cannot fail.
  void reserve_tokens(std::span<const SeqSpan> seqs);
  void note_tokens(std::span<const SeqSpan> seqs) noexcept;

  // One step over these sequences: transactions, graph, commit or abort. `made` receives the graph
  // whose result holds the outputs.
  Status run_step(std::span<const SeqSpan> seqs, const GraphShape& shape, const CancelToken* cancel,
                  StepGraph** made);
  // The parts of a step around its transactions: everything that refuses it before, and the graph
  // over lists that have room for its rows.
  Result<StepGraph*> graph_of(std::span<const SeqSpan> seqs, GraphShape shape,
                              const CancelToken* cancel);
  Status compute(std::span<const SeqSpan> seqs, StepGraph& graph, const CancelToken* cancel);
  Status prepare_step(std::span<const SeqSpan> seqs, StepGraph& graph);
  // Where the logits of the next token of `seq` will go: its own memory, or fresh memory where
  // forks share that. They are written when the step has succeeded, so a failed one changes none.
  Result<Logits> logits_target(SeqId seq) const;

  Status prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options);
  Status prefill_chunks(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options);
  // The next tokens of a prompt at these positions.
  Status prefill_chunk(SeqId seq, std::span<const Token> tokens, PromptSpan prompt,
                       const PrefillOptions& options);
  Status prefill_layers(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options);
  // The options' order, or the cheaper one for a prompt of so many tokens with the sequence's
  // adapters.
  Result<PrefillOrder> order_of(SeqId seq, int64_t tokens, bool all_logits);
  // Logits of every hidden row of a chunk, slice after slice; `last` gets those of its last row.
  Status emit_logits(StepGraph& graph, std::vector<float>& last, const PrefillOptions& options,
                     int64_t first_row);
  // Ends the transactions of a step's first `open` sequences.
  void close(std::span<const SeqSpan> seqs, size_t open, bool keep) noexcept;
  Status decode(std::span<const SeqToken> tokens, const CancelToken* cancel);
  // verify() of several sequences in one step: the logits of all rows, one sequence behind the
  // other. At most as many rows as most_verified(options).
  Result<View<const float, 2>> verify(std::span<const SeqSpan> seqs, const CancelToken* cancel);
  // One decode step with the logits of every row, [rows, vocab], valid until the next step. Each
  // sequence takes up those of its last row.
  Result<View<const float, 2>> decode_rows(std::span<const SeqSpan> seqs,
                                           const CancelToken* cancel);
  Status truncate(SeqId seq, int64_t n);
  // Computes with the threads of `other` in place of own ones: two engines that take turns then do
  // not wait for each other's idle threads. Both have as many; before the first step.
  void share_threads(const Impl& other);

  std::shared_ptr<Model> model;
  EngineOptions options;
  std::shared_ptr<ggml_threadpool> pool;
  std::unique_ptr<Store> store;
  std::unique_ptr<Step> step;
  std::unique_ptr<LinearWorkspace> linears;
  std::unique_ptr<Adaptations> adaptations;
  std::unique_ptr<GraphCache> graphs;
  std::unordered_map<SeqId, Logits> logits;              // null: none yet
  std::unordered_map<SeqId, std::vector<Token>> tokens;  // that each sequence holds
  std::string identity;       // of the model's file (model_identity.h), once it was asked for
  std::vector<float> hidden;  // [chunk, embd], only with on_logits
  // What the last verify() left, until the next step: logits [tokens, vocab] behind the tokens of
  // `seq` from `first` on.
  struct Verified {
    SeqId seq = 0;
    int64_t first = 0;
    View<const float, 2> rows;
  };
  std::vector<Verified> verified;

  // Of the report, since reset_report.
  double prefill_s = 0, decode_s = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0, steps = 0, decode_builds = 0;
  int64_t builds_at_reset = 0;
  PrefillOrder last_order = PrefillOrder::kAuto;

  // Of full chunks, for the adapters of the latest prompt; [1] for all logits.
  struct MeasuredGraphs {
    PromptGraphs graphs;
    AdaptedKey adapted;
  };
  std::optional<MeasuredGraphs> prompt_graphs[2];
};

}  // namespace heed
