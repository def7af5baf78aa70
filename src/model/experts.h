// The feed-forward of a layer with experts: a router chooses some of them for each row, and the row
// is the sum of what they make of it. Products are heed's for weights that heed packs, ggml's for
// the others, as in model/linear.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <utility>

#include "linear/expert_product.h"
#include "model/linear.h"

namespace heed {

// What one node of a graph needs while it runs; the graph keeps it.
struct ExpertOp {
  struct Part {
    std::span<const PackedWeight> weights;
    const float* bias = nullptr;
  };
  LinearWorkspace* workspace = nullptr;
  ExpertLists::Size size;
  int64_t rows = 0;                    // of the step
  int used = 0;                        // experts of a row
  RouterRule router;                   // of a node that chooses
  const float* choice_bias = nullptr;  // [experts] of that node, or null
  int64_t slots_per_row = 1;           // of a node that gathers
  int64_t inputs = 0;                  // of a node that gathers
  InputForm form = InputForm::kBytes;  // of what the node packs or gathers
  Activation activation = Activation::kSilu;
  Part parts[2];             // one, or gate and up
  std::atomic<int> left{0};  // members that are done routing
};
using ExpertOps = std::deque<ExpertOp>;  // elements stay where they are

struct ExpertTerms {
  LinearTerm router;          // [experts, in]
  LinearTerm gate, up, down;  // [experts, out, in], biases [experts, out]
  Activation activation = Activation::kSilu;
  int experts = 0;
  int used = 0;
  RouterRule rule = {};
  ggml_tensor* choice_bias = nullptr;  // [experts] or null
};

// Adds mixtures of experts, and products with a matrix a head, to one graph.
class ExpertBuilder {
 public:
  // `workspace` may be null for graphs that are only measured.
  ExpertBuilder(ggml_context* context, const ModelWeights& weights, LinearBuilder& linear,
                LinearWorkspace* workspace, ExpertOps& ops)
      : context_(context), weights_(weights), linear_(linear), workspace_(workspace), ops_(ops) {}

  // residual + what the chosen experts make of x, [T, in].
  ggml_tensor* mixture(LinearInput& x, const ExpertTerms& terms, ggml_tensor* residual);

  // Row t * heads + h of x, [T * heads, in] (rows may lie apart), times matrix h of `weight`,
  // [heads, out, in]: [T * heads, out].
  ggml_tensor* by_head(ggml_tensor* x, ggml_tensor* weight, int heads);

 private:
  // Rows that experts read: those of the step, or one for each slot.
  struct Input {
    LinearInput rows;
    int64_t slots_per_row = 1;
    ggml_tensor* gathered[kernels::kInputForms] = {};
  };
  // What the nodes of one mixture share.
  struct Mixture {
    const ExpertTerms& terms;
    int64_t rows;
    ggml_tensor* routed;  // chosen experts, their shares, the lists
  };

  ggml_tensor* route(const ExpertTerms& terms, ggml_tensor* logits);
  ggml_tensor* route_by_head(const ExpertTerms& terms, int64_t rows);
  ggml_tensor* gathered(const Mixture& mixture, Input& x, InputForm form);
  ggml_tensor* product(const Mixture& mixture, Input& x, const LinearTerm& term);
  ggml_tensor* ggml_product(const Mixture& mixture, Input& x, const LinearTerm& term);
  Input gated(const Mixture& mixture, Input& x);
  ggml_tensor* sum(const Mixture& mixture, ggml_tensor* y, ggml_tensor* residual);
  ExpertOp& new_op(const ExpertTerms& terms, int64_t rows);
  ExpertOp::Part part(const LinearTerm& term) const;

  ggml_context* context_;
  const ModelWeights& weights_;
  LinearBuilder& linear_;
  LinearWorkspace* workspace_;
  ExpertOps& ops_;
  // Of route_by_head, by rows and heads: layers share them.
  std::map<std::pair<int64_t, int>, ggml_tensor*> by_head_;
};

}  // namespace heed
