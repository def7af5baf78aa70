// The graphs of an engine, by shape. Small ones (decode, short tails) are kept with memory of their
// own, so a token never waits for a build; of large ones only the latest is kept, because each
// needs its own compute buffer and a build costs about 0.1 ms against hundreds for its step. Graphs
// of some layers are large ones whatever their rows: each serves one prompt, a layer at a time.
#pragma once

#include <cstdint>
#include <list>
#include <memory>

#include "session/step_graph.h"

namespace heed {

class GraphCache {
 public:
  static constexpr int kSmallRows = 64;      // a full decode batch
  static constexpr size_t kSmallGraphs = 8;  // batch sizes in use at a time

  GraphCache(const Hyperparameters& hyper, const ModelWeights& weights, LayerOp* ops,
             LinearWorkspace* linears, int threads, ggml_threadpool* pool)
      : hyper_(hyper),
        weights_(weights),
        ops_(ops),
        linears_(linears),
        threads_(threads),
        pool_(pool) {}

  // Valid until the next call.
  Result<StepGraph*> step(const GraphShape& shape);
  Result<StepGraph*> head(int rows, const AdaptedKey& adapted);

  int64_t builds() const { return builds_; }

  // Before the first graph.
  void use_threads(ggml_threadpool* pool) { pool_ = pool; }

 private:
  // A graph and the memory its tensors lie in.
  struct Slot {
    std::unique_ptr<ggml_gallocr, GraphFree> allocator;
    std::unique_ptr<StepGraph> graph;
  };
  Status fill(Slot& slot, Result<std::unique_ptr<StepGraph>> built);

  const Hyperparameters& hyper_;
  const ModelWeights& weights_;
  LayerOp* ops_;
  LinearWorkspace* linears_;
  int threads_;
  ggml_threadpool* pool_;
  std::list<Slot> small_;  // most recently used first
  Slot large_;
  Slot head_;
  int64_t builds_ = 0;
};

}  // namespace heed
