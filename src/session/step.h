// Everything the nodes of a step's graph need and the graph itself does not hold: which sequences
// take part, their lists, the plans, rotary tables, scratch. Nodes find it by a stable pointer, so
// one graph serves every step of its shape.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cpu/team.h"
#include "heed/attention.h"
#include "heed/engine.h"
#include "model/hyperparameters.h"
#include "session/prompt_selection.h"
#include "session/rotary_table.h"

struct ggml_tensor;

namespace heed {

struct SeqSpan {
  SeqId id = 0;
  std::span<const Token> tokens;
  int64_t filled = 0;             // rows of its open filling that these layers have
  const float* hidden = nullptr;  // [tokens, embd] in front of the first layer, when not layer 0
  // Of all rows of its filling, when it is alone in the step; else the step computes its own.
  const std::vector<RotaryTable>* angles = nullptr;
  // Positions of the whole prompt that the rows are of; end 0: they are none of a prompt.
  PromptSpan prompt = {};
};

// Layers [first, end) of a model.
struct LayerSlice {
  int first = 0, end = 0;

  bool operator==(const LayerSlice&) const = default;
};

struct Step;

// What a custom node's user pointer points to; outlives every graph.
struct LayerOp {
  Step* step = nullptr;
  int layer = 0;
};

// Layers that attend alike share one plan.
struct AttendGroup {
  int window = 0;
  int heads = 0;
  int kv_heads = 0;
  int rope = 0;
  Plan plan;
};

struct Step {
  // `rotary` by Hyperparameters::ropes; `policy` may be null.
  Step(const Hyperparameters& hyper, std::vector<RotaryTable> rotary, Store& store, Isa isa,
       int threads, int max_rows, std::shared_ptr<const PrefillPolicy> policy = nullptr);
  // What that takes whatever a step does; the workspace grows with what it attends to.
  static uint64_t bytes_of(const Hyperparameters& hyper, int threads, int max_rows);
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  // --- before the graph of these layers, by one thread. Their lists hold the open transactions'
  // rows already.
  Status prepare(std::span<const SeqSpan> seqs, LayerSlice layers);

  // --- while the graph runs
  void append(ggml_tensor* node, int layer, int member, int members);
  void attend(ggml_tensor* node, int layer, int member, int members);
  // Called by member 0 behind every node; true ends the graph there.
  bool should_stop();

  // --- after the graph
  Status finish();

  const std::vector<RotaryTable>& rotary() const { return rotary_; }

  const CancelToken* cancel = nullptr;
  int fail_after_node = -1;

  std::vector<LayerOp> ops;  // [layers]

  double attention_s = 0, append_s = 0;  // member 0's wall clock
  double selection_s = 0;                // of attention_s
  uint64_t attention_tiles = 0;
  PromptSelection selections;

 private:
  Call make_call(const AttendGroup& group, int layer) const;
  // The store's layer that holds the keys of `layer`: an encoder's layers share one, which each
  // overwrites.
  int stored_layer(int layer) const { return std::min(layer, hyper_.stored_layers() - 1); }
  void rotate_keys(const ggml_tensor* k, Rotary rotary, float* out, int64_t begin,
                   int64_t end) const;
  void collect_tiles();
  // A selection for every layer that the policy has one for, and room to run it.
  Status prepare_selections(const SeqSpan& seq, LayerSlice layers);
  // Of a layer in the step at hand; null: it attends densely.
  Selection* selection_of(int layer) const { return prompt_step_ ? selections.of(layer) : nullptr; }

  const Hyperparameters& hyper_;
  Store& store_;
  Isa isa_;
  Workspace workspace_;
  cpu::Barrier barrier_;
  int threads_;

  std::vector<AttendGroup> groups_;
  std::vector<int> group_of_;        // [layers]
  std::vector<RotaryTable> rotary_;  // by Hyperparameters::ropes
  // Those of the step at hand, and their row of its first token.
  const std::vector<RotaryTable>* angles_ = &rotary_;
  int64_t angle_row_ = 0;
  std::vector<int64_t> positions_;   // [T]
  std::vector<SeqId> ids_;           // [sequences]
  std::vector<SeqRows> rows_;        // [layers, sequences]
  std::vector<float> shared_keys_;   // [max rows, kv_heads, dk] rotated keys of a prompt chunk
  std::vector<float> private_keys_;  // [threads, kPrivateRows, kv_heads, dk] of a decode step

  int nodes_done_ = 0;
  bool tiles_pending_ = false;
  int counted_layer_ = 0;     // whose run that was
  bool prompt_step_ = false;  // its rows are a prompt's, and there is a policy
  // The selection that failed, or whose plan was not what ran. Its message is made behind the
  // graph.
  const Selection* failed_selection_ = nullptr;
  bool miscounted_ = false;
  Status error_;  // of member 0, which alone decides that a step ends early
};

// The functions that ggml calls on every thread.
void append_node(ggml_tensor* node, int member, int members, void* layer_op);
void attend_node(ggml_tensor* node, int member, int members, void* layer_op);

}  // namespace heed
