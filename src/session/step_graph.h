// The ggml graph of one step: project -> append -> attend -> output, layer after layer. It contains
// no key length, no mask and no view of the store, so one graph serves every step of its shape.
#pragma once

#include <ggml-alloc.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "heed/status.h"
#include "model/adapted.h"
#include "model/experts.h"
#include "model/hyperparameters.h"
#include "model/linear.h"
#include "model/weights.h"
#include "session/step.h"

namespace heed {

// What a step leaves behind for its output rows.
enum class StepOutput : uint8_t {
  kNothing,  // keys and values only: the graph ends at the model's last append
  kLogits,   // logits of `outputs` rows
  // The residual of every row: all that an encoder gives, and for the head in slices or the layer
  // behind these.
  kHidden,
};

struct GraphShape {
  int rows = 0;
  int outputs = 0;  // rows whose logits are computed
  StepOutput output = StepOutput::kNothing;
  // Layers that it goes through: from tokens to the end, or from hidden rows to hidden rows. Fewer
  // than all ask for kHidden unless the model's last one is among them.
  int first_layer = 0;
  int end_layer = 0;  // 0: the model's
  AdaptedKey adapted = {};

  bool operator==(const GraphShape&) const = default;
};

struct GraphFree {
  void operator()(ggml_context* c) const { ggml_free(c); }
  void operator()(ggml_gallocr* g) const { ggml_gallocr_free(g); }
};

class StepGraph {
 public:
  // A graph without memory. `ops` (of the Step, [layers]) and `linears` outlive it; `linears` may
  // be null where the graph is only measured.
  static Result<std::unique_ptr<StepGraph>> build(const Hyperparameters& hyper,
                                                  const ModelWeights& weights, LayerOp* ops,
                                                  LinearWorkspace* linears,
                                                  const GraphShape& shape);
  // The head alone: hidden rows [rows, embd] -> logits.
  static Result<std::unique_ptr<StepGraph>> build_head(const Hyperparameters& hyper,
                                                       const ModelWeights& weights,
                                                       LinearWorkspace* linears, int rows,
                                                       const AdaptedKey& adapted);

  // Memory for the intermediate results, from `allocator`, and the plan of `pool`.
  Status allocate(ggml_gallocr* allocator, int threads, ggml_threadpool* pool);
  // Bytes that allocate would take.
  static uint64_t measure(StepGraph& graph, int threads);

  // kOk, or whatever `step` says ended it.
  Status compute(Step* step);
  // The head alone, which belongs to no step. kCancelled when `cancel` (may be null) fired.
  Status compute_head(const CancelToken* cancel);

  const GraphShape& shape() const { return shape_; }
  int nodes() const { return ggml_graph_n_nodes(graph_); }
  LayerSlice layers() const { return layers_; }
  ggml_tensor* tokens() const { return tokens_; }        // [rows] int32, null behind layer 0
  ggml_tensor* positions() const { return positions_; }  // [rows] int32, null: not looked up
  ggml_tensor* out_rows() const { return out_rows_; }    // [outputs] int32, null when all rows are
  ggml_tensor* result() const { return result_; }        // logits, or hidden rows
  ggml_tensor* hidden_in() const { return hidden_in_; }  // [rows, embd], null from layer 0 on

 private:
  friend class GraphBuilder;
  StepGraph() = default;
  Status make_context(size_t nodes);

  GraphShape shape_;
  LayerSlice layers_;
  std::unique_ptr<ggml_context, GraphFree> context_;
  ggml_cgraph* graph_ = nullptr;
  ggml_tensor* tokens_ = nullptr;
  ggml_tensor* positions_ = nullptr;
  ggml_tensor* out_rows_ = nullptr;
  ggml_tensor* result_ = nullptr;
  ggml_tensor* hidden_in_ = nullptr;
  LinearOps linear_ops_;
  AdaptedOps adapted_ops_;
  ExpertOps expert_ops_;
  ggml_cplan plan_{};
  std::vector<uint8_t> work_;
};

}  // namespace heed
