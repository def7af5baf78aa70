// Every matrix product of a model goes through here: heed's own for the types it packs
// (linear/weight.h), ggml's for the others.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/aligned.h"
#include "heed/cpu.h"
#include "heed/status.h"
#include "linear/product.h"

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
  uint8_t* scratch(int member) { return scratch_.get() + stride_ * member; }
  ProductCounter& counter() { return counter_; }

 private:
  Isa isa_;
  int threads_;
  int64_t stride_ = 0;
  AlignedMemory scratch_;
  ProductCounter counter_;
};

// What one node of a graph needs while it runs; the graph keeps it.
struct LinearOp {
  LinearWorkspace* workspace = nullptr;
  const PackedWeight* weight = nullptr;
};
using LinearOps = std::deque<LinearOp>;  // elements stay where they are

// Rows [T, in] that products read. They are quantised once for all packed weights.
class LinearInput {
 public:
  explicit LinearInput(ggml_tensor* x) : x_(x) {}

 private:
  friend class LinearBuilder;
  ggml_tensor* x_;
  ggml_tensor* quantized_ = nullptr;
};

// Adds products to one graph.
class LinearBuilder {
 public:
  // `workspace` may be null for graphs that are only measured.
  LinearBuilder(ggml_context* context, const ModelWeights& weights, LinearWorkspace* workspace,
                LinearOps& ops)
      : context_(context), weights_(weights), workspace_(workspace), ops_(ops) {}

  // weight [out, in], x [T, in] fp32 -> [T, out] fp32, plus bias [out] where it is not null.
  ggml_tensor* product(LinearInput& x, ggml_tensor* weight, ggml_tensor* bias);

 private:
  ggml_tensor* packed_product(LinearInput& x, const PackedWeight& weight);
  LinearOp* op(const PackedWeight* weight);

  ggml_context* context_;
  const ModelWeights& weights_;
  LinearWorkspace* workspace_;
  LinearOps& ops_;
};

}  // namespace heed
