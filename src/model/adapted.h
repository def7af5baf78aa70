// What the nodes of a graph do for adapters and control vectors: low-rank sums behind products and
// behind the lookup of embeddings, directions behind layers.
//
// A graph knows which matrices somebody in the step adapts, not who: the nodes find the rows and
// their adapters in AdaptedRows when they run. So one graph serves all adapters of the same
// targets, and rows without one pass through it untouched.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/aligned.h"
#include "cpu/team.h"
#include "linear/low_rank.h"
#include "model/adapter.h"

struct ggml_context;
struct ggml_tensor;

namespace heed {

// Neighbouring rows of a step that share an adaptation.
struct AdaptedRun {
  int64_t first = 0, rows = 0;
  const Adaptation* adaptation = nullptr;
};

// The rows of a step, and the memory that its nodes work in.
class AdaptedRows {
 public:
  // Matrices that one node may adapt: q, k and v.
  static constexpr size_t kParts = 3;

  AdaptedRows(Isa isa, int threads, int max_rows)
      : isa_(isa), threads_(threads), max_rows_(max_rows) {}

  // What an adaptation needs, grown to. Not while a graph runs.
  struct Needs {
    int64_t inputs = 0, rank = 0;  // the largest, padded
    int64_t sums = 0;              // floats of a row in one node

    bool operator==(const Needs&) const = default;
  };
  static Needs needs_of(std::span<const LoraAdapter* const> loras);
  static uint64_t bytes_of(const Needs& needs, int threads, int max_rows);
  Status reserve(const Needs& needs);

  Isa isa() const { return isa_; }
  uint8_t* scratch(int member) { return memory_.get() + scratch_ * member; }
  float* sums() { return reinterpret_cast<float*>(memory_.get() + scratch_ * threads_); }
  cpu::Barrier& barrier() { return barrier_; }

  // Only those with an adaptation, in order. In a step with fewer outputs than rows they are of one
  // sequence, so the runs hold for its outputs too; nodes clip them to their rows.
  std::vector<AdaptedRun> runs;

 private:
  Isa isa_;
  int threads_;
  int max_rows_;
  Needs reserved_;
  int64_t scratch_ = 0;  // bytes of a member
  AlignedMemory memory_;
  cpu::Barrier barrier_;
};

// What the graph of a step takes up for the adaptations in it.
struct AdaptedTargets {
  explicit AdaptedTargets(int layers)
      : matrices(static_cast<size_t>(target_count(layers))), steered(static_cast<size_t>(layers)) {}
  void add(const LoraAdapter& lora);
  void add(const ControlVector& control);
  void add(const Adaptation& adaptation);

  bool operator==(const AdaptedTargets& other) const {
    return matrices == other.matrices && steered == other.steered;
  }

  std::vector<bool> matrices;   // by target
  std::vector<bool> steered;    // by layer
  AdaptedRows* rows = nullptr;  // null where graphs are only measured
};

// Of a graph: null targets where nobody adapts anything.
struct AdaptedKey {
  std::shared_ptr<const AdaptedTargets> targets;

  bool operator==(const AdaptedKey& other) const {
    if (targets == nullptr || other.targets == nullptr) return targets == other.targets;
    return *targets == *other.targets;
  }
};

// What one node needs while it runs; the graph keeps it.
struct AdaptedOp {
  AdaptedRows* rows = nullptr;
  std::array<int, AdaptedRows::kParts> targets{};
  std::array<int64_t, AdaptedRows::kParts> columns{};  // of a target's first output in the node
  size_t count = 0;
  int layer = 0;                // of a node that steers
  const float* norm = nullptr;  // before the products
  float eps = 0;
};
using AdaptedOps = std::deque<AdaptedOp>;  // elements stay where they are

// Adds the nodes to one graph; none where nobody adapts anything.
class AdaptedBuilder {
 public:
  // `targets` may be null.
  AdaptedBuilder(ggml_context* context, const ModelWeights& weights, const AdaptedTargets* targets,
                 AdaptedOps& ops);

  // Somebody adapts the product with this weight.
  bool adapts(const ggml_tensor* weight) const { return targets_by_weight_.contains(weight); }

  // A product of `weight`, whose outputs begin at `column` of a node.
  struct Part {
    const ggml_tensor* weight = nullptr;
    int64_t column = 0;
  };
  // y, in place, with what adapters add to the products `parts` of x [T, in], normed first where
  // `norm` is given. y itself where nobody adapts one.
  ggml_tensor* products(ggml_tensor* y, ggml_tensor* x, const ggml_tensor* norm, float eps,
                        std::span<const Part> parts);
  // The rows of `tokens` from the table of embeddings.
  ggml_tensor* embeddings(ggml_tensor* rows, ggml_tensor* tokens);
  // The residual behind a layer.
  ggml_tensor* steered(ggml_tensor* residual, int layer);

 private:
  AdaptedOp& new_op();

  ggml_context* context_;
  const AdaptedTargets* targets_;
  int layers_;
  AdaptedOps& ops_;
  std::unordered_map<const ggml_tensor*, int> targets_by_weight_;  // of products
};

}  // namespace heed
