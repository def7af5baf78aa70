// Products of experts: each multiplies the rows of its own list (routing.h). Groups of all experts
// are handed out together, so no member waits for another's expert, and a row's bits are those of
// the row multiplied alone.
#pragma once

#include <cstdint>
#include <span>

#include "linear/product.h"
#include "linear/routing.h"

namespace heed {

// Rows of `packed` in the order of the lists, each list from a tile of its own on, to `out`
// (gathered_input_bytes, 64-byte aligned). Slot s reads row s / slots_per_row. Nothing is rounded
// twice. Every member calls; each does its share.
struct Gather {
  InputForm form = InputForm::kBytes;
  const void* packed = nullptr;
  int64_t slots_per_row = 1;
  int64_t inputs = 0;
};
void gather_inputs(Isa isa, const ExpertLists& lists, const Gather& gather, void* out, int member,
                   int members);
int64_t gathered_input_bytes(InputForm form, const ExpertLists::Size& size, int64_t inputs);

// Weights of one shape, by expert, and what they read.
struct ExpertWeights {
  std::span<const PackedWeight> weights;  // [experts]
  const float* bias = nullptr;            // [experts, outputs]
  const void* x = nullptr;                // gathered, in the weights' input_form()
};

// y [slot] = x W^T + bias of the slot's expert.
struct ExpertProduct {
  ExpertWeights of;
  float* y = nullptr;    // [slots, outputs]
  int64_t y_stride = 0;  // floats between rows
};
void multiply_experts(Isa isa, const ExpertLists& lists, const ExpertProduct& product,
                      const Worker& worker);

// activation(gate) * up, gathered for the experts' product behind it.
struct ExpertGatedProduct {
  ExpertWeights gate, up;  // as many outputs, a multiple of 32
  Activation activation = Activation::kSilu;
  InputForm form = InputForm::kBytes;
  void* out = nullptr;  // gathered_input_bytes(form, _, outputs)
};
void multiply_experts_gated(Isa isa, const ExpertLists& lists, const ExpertGatedProduct& product,
                            const Worker& worker);

// out [t] = residual [t] + sum of shares [t, r] * y [t * used + r] over the ranks r in order.
// Every member calls; each does its columns.
struct ExpertSum {
  const float* y = nullptr;       // [rows * used, width]
  const float* shares = nullptr;  // [rows, used]
  const float* residual = nullptr;
  int64_t residual_stride = 0;  // floats between rows
  int64_t rows = 0, width = 0;
  int used = 0;
  float* out = nullptr;  // [rows, width]
};
void sum_experts(const ExpertSum& sum, int member, int members);

}  // namespace heed
