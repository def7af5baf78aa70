// Every matrix product of a model goes through here: heed's own for the types it packs
// (linear/weight.h), ggml's for the others. heed's take the norm before them, and the bias, the
// residual or the activation behind them into their node: each node ends with a barrier, and in the
// decode phase barriers are what is left beside reading the weights.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>

#include "base/aligned.h"
#include "heed/cpu.h"
#include "heed/status.h"
#include "linear/product.h"
#include "model/adapted.h"

struct ggml_context;
struct ggml_tensor;

namespace heed {

class ModelWeights;

// What the products of one engine share: the nodes of a graph run one after the other.
class LinearWorkspace {
 public:
  LinearWorkspace(Isa isa, int threads) : isa_(isa), threads_(threads) {}

  // Scratch for products of up to `inputs` values a row. Not while a graph runs.
  Status reserve(int64_t inputs);
  static uint64_t bytes_of(int64_t inputs, int threads);

  Isa isa() const { return isa_; }
  Worker worker(int member, int members) {
    return {scratch_.get() + stride_ * member, &counter_, members};
  }
  // One tile of rows packed by a member for itself.
  uint8_t* own_rows(int member, InputForm form) {
    return scratch_.get() + stride_ * member + products_ + tile_ * static_cast<int>(form);
  }

 private:
  Isa isa_;
  int threads_;
  int64_t products_ = 0, tile_ = 0, stride_ = 0;  // bytes of one member's scratch
  AlignedMemory scratch_;
  ProductCounter counter_;
};

// What one node of a graph needs while it runs; the graph keeps it.
struct LinearOp {
  static constexpr int kParts = 3;
  struct Part {
    const PackedWeight* weight = nullptr;
    const float* bias = nullptr;
    int source = 0;      // of its packed x, where the node does not pack for itself
    int64_t column = 0;  // of its first output in the node's result
  };
  LinearWorkspace* workspace = nullptr;
  int64_t rows = 0;
  const float* norm = nullptr;  // of a node that packs
  float eps = 0;
  bool own_input = false;              // source 0 is x itself: every member packs the few rows
  int residual = -1;                   // source of the residual
  InputForm form = InputForm::kBytes;  // of what the node packs
  Activation activation = Activation::kSilu;
  std::array<Part, kParts> parts{};
  int count = 0;
};
using LinearOps = std::deque<LinearOp>;  // elements stay where they are

// A matrix [out, in] and what is added to its product, [out] or null.
struct LinearTerm {
  ggml_tensor* weight = nullptr;
  ggml_tensor* bias = nullptr;
};

// Rows [T, in] that products read, normed first where `norm` [in] is given. They are packed once
// for all weights that read the same form.
class LinearInput {
 public:
  explicit LinearInput(ggml_tensor* x, ggml_tensor* norm = nullptr, float eps = 0)
      : x_(x), norm_(norm), eps_(eps) {}

  int64_t width() const;  // of a row that is not only packed

 private:
  friend class LinearBuilder;
  ggml_tensor* x_;  // null: only packed
  ggml_tensor* norm_;
  float eps_;
  ggml_tensor* normed_ = nullptr;
  ggml_tensor* packed_[kernels::kInputForms] = {};
  int64_t rows_ = 0;  // of what is only packed
};

// Adds products to one graph.
class LinearBuilder {
 public:
  // `workspace` may be null for graphs that are only measured.
  LinearBuilder(ggml_context* context, const ModelWeights& weights, LinearWorkspace* workspace,
                LinearOps& ops, AdaptedBuilder& adapted)
      : context_(context), weights_(weights), workspace_(workspace), ops_(ops), adapted_(adapted) {}

  // x W^T + bias + residual, [T, out] fp32; `residual` [T, out] may be null.
  ggml_tensor* product(LinearInput& x, const LinearTerm& term, ggml_tensor* residual = nullptr);

  // Up to three products of the same x. out[i] is [T, outputs of i]; rows may lie apart.
  void products(LinearInput& x, std::span<const LinearTerm> terms, std::span<ggml_tensor*> out);

  // activation(gate) * up, as the input of `down`.
  LinearInput gated(LinearInput& x, const LinearTerm& gate, const LinearTerm& up,
                    Activation activation, const ggml_tensor* down);

  // The same of products [T, out] that are computed already; without `up`, of the one alone.
  LinearInput activated(ggml_tensor* gate, ggml_tensor* up, Activation activation);

  // The rows in a form that heed's products read, and as ggml's read them.
  ggml_tensor* packed(LinearInput& x, InputForm form);
  ggml_tensor* normed(LinearInput& x);

 private:
  bool packs_for_itself(const LinearInput& x) const;
  ggml_tensor* adapted(ggml_tensor* y, const LinearInput& x,
                       std::span<const AdaptedBuilder::Part> parts);
  ggml_tensor* ggml_product(LinearInput& x, const LinearTerm& term, ggml_tensor* residual);
  // The sources and parts of a node that multiplies x with all `terms`, which are packed.
  struct Node {
    LinearOp* op = nullptr;
    std::array<ggml_tensor*, LinearOp::kParts + 1> sources{};
    int count = 0;
    int64_t outputs = 0;
  };
  Node node(LinearInput& x, std::span<const LinearTerm> terms);
  ggml_tensor* run(Node& node, ggml_tensor* residual);
  LinearOp& new_op(const LinearInput& x);
  int64_t rows_of(const LinearInput& x) const;

  ggml_context* context_;
  const ModelWeights& weights_;
  LinearWorkspace* workspace_;
  LinearOps& ops_;
  AdaptedBuilder& adapted_;
};

}  // namespace heed
