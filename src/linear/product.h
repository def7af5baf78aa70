// Products with packed weights, by the members of a team: y = x W^T, alone, several that read the
// same x, or the two of a gated feed-forward.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "heed/cpu.h"
#include "linear/weight.h"

namespace heed {

using kernels::Activation;
using kernels::InputForm;

// Rows in up to this number are one tile of packed input.
inline constexpr int kTileRows = kernels::kInputRows;

// Bytes of `rows` packed rows of `inputs` values, on any ISA.
int64_t packed_input_bytes(InputForm form, int64_t rows, int64_t inputs);

// What is packed: x [rows, inputs] fp32, rows `stride` floats apart; with `norm` [inputs] each row
// becomes x / sqrt(mean(x^2) + eps) * norm first.
struct Input {
  const float* x = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t inputs = 0;
  const float* norm = nullptr;
  float eps = 0;
};

// `input` to `out` (64-byte aligned). Every member calls; each does its share of the rows.
void pack_inputs(Isa isa, InputForm form, void* out, const Input& input, uint8_t* scratch,
                 int member, int members);

// Groups are handed out by a counter that the last member to leave sets back.
struct ProductCounter {
  std::atomic<int64_t> next{0};
  std::atomic<int> left{0};
};

// One member's share of a node. Every member calls with the same arguments but for this; the packed
// rows must be complete (a barrier lies between).
struct Worker {
  uint8_t* scratch = nullptr;  // product_scratch_bytes, 64-byte aligned
  ProductCounter* counter = nullptr;
  int members = 1;
};

// Bytes of one member's scratch, for up to `inputs` values a row.
int64_t product_scratch_bytes(int64_t inputs);

// y [rows, outputs] = x W^T (+ bias) (+ residual).
struct Product {
  const PackedWeight* weight = nullptr;
  const void* x = nullptr;  // packed, in the weight's input_form()
  float* y = nullptr;
  int64_t y_stride = 0;             // floats between rows
  const float* bias = nullptr;      // [outputs]
  const float* residual = nullptr;  // [rows, outputs], residual_stride apart
  int64_t residual_stride = 0;
};
void multiply(Isa isa, std::span<const Product> products, int64_t rows, const Worker& worker);

// gate [n] = activation(gate) * up.
void activate(Isa isa, Activation activation, float* gate, const float* up, int64_t n);

// activation(x Wg^T + bias) * (x Wu^T + bias), packed for the product behind it.
struct GatedProduct {
  const PackedWeight* gate = nullptr;
  const PackedWeight* up = nullptr;  // as many outputs, a multiple of 32
  const void* gate_x = nullptr;
  const void* up_x = nullptr;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  Activation activation = Activation::kSilu;
  InputForm form = InputForm::kBytes;
  void* out = nullptr;  // packed_input_bytes(form, rows, outputs)
};
void multiply_gated(Isa isa, const GatedProduct& product, int64_t rows, const Worker& worker);

}  // namespace heed
