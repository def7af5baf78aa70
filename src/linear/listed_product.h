// Products of experts: each weight multiplies the rows of a list of its own, and each result goes
// to a row that the list names. Bits are those of the same rows multiplied alone.
#pragma once

#include <cstdint>
#include <span>

#include "linear/product.h"

namespace heed {

// Rows of `packed` [rows, inputs] in the order of `rows`, packed again to `out`
// (packed_input_bytes of as many rows, 64-byte aligned). Nothing is rounded twice. Every member
// calls; each does its share.
void gather_inputs(Isa isa, InputForm form, void* out, const void* packed,
                   std::span<const int32_t> rows, int64_t inputs, int member, int members);

// y [to[i]] = x [i] W^T (+ bias). No row of y may be named twice in a call.
struct ListedProduct {
  const PackedWeight* weight = nullptr;
  const void* x = nullptr;  // packed, in the weight's input_form(): a row for each of `to`
  std::span<const int32_t> to;
  float* y = nullptr;
  int64_t y_stride = 0;         // floats between rows
  const float* bias = nullptr;  // [outputs]
};
void multiply_listed(Isa isa, std::span<const ListedProduct> products, const Worker& worker);

}  // namespace heed
