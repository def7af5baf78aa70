// y = x W^T with a packed weight, by the members of a team.
#pragma once

#include <atomic>
#include <cstdint>

#include "heed/cpu.h"
#include "linear/weight.h"

namespace heed {

// Bytes of `rows` quantised rows of `inputs` values.
int64_t quantized_bytes(int64_t rows, int64_t inputs);

// x [rows, inputs] fp32, `stride` floats apart, to `out` (64-byte aligned). Every member calls;
// each does its share of the rows.
void quantize_inputs(Isa isa, void* out, const float* x, int64_t stride, int64_t rows,
                     int64_t inputs, int member, int members);

// Groups are handed out by a counter that the last member to leave sets back.
struct ProductCounter {
  std::atomic<int64_t> next{0};
  std::atomic<int> left{0};
};

// Bytes of one member's scratch, 64-byte aligned.
int64_t product_scratch_bytes(int64_t inputs);

// y [rows, outputs], `y_stride` floats apart. All members call with the same arguments but for
// member and scratch; the quantised rows must be complete (a barrier lies between).
void multiply(Isa isa, const PackedWeight& weight, const void* quantized, int64_t rows, float* y,
              int64_t y_stride, uint8_t* scratch, ProductCounter& counter, int members);

}  // namespace heed
