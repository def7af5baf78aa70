#include "linear/product.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/linear/linear.h"

namespace heed {

using kernels::InputBlock;
using kernels::kInputRows;

namespace {

// With few rows the weight is streamed from memory, and a member that takes a run of neighbouring
// groups reads ahead of itself; with many, single groups balance the members better.
constexpr int64_t kStreamedRows = 16;
constexpr int64_t kRunBytes = 128 << 10;

int64_t groups_at_a_time(const PackedWeight& weight, int64_t rows, int members) {
  if (rows > kStreamedRows) return 1;
  const int64_t by_bytes = kRunBytes * weight.groups() / weight.bytes();
  return std::max<int64_t>(1, std::min(by_bytes, weight.groups() / (4 * members)));
}

int64_t row_tiles(int64_t rows) { return (rows + kInputRows - 1) / kInputRows; }

}  // namespace

int64_t quantized_bytes(int64_t rows, int64_t inputs) {
  return row_tiles(rows) * (inputs / kernels::kBlockInputs) *
         static_cast<int64_t>(sizeof(InputBlock));
}

int64_t product_scratch_bytes(int64_t inputs) {
  return inputs / kernels::kBlockInputs * static_cast<int64_t>(kernels::kExpandedBlock);
}

void quantize_inputs(Isa isa, void* out, const float* x, int64_t stride, int64_t rows,
                     int64_t inputs, int member, int members) {
  const kernels::LinearTable& table = kernels::linear_table(isa);
  const int64_t tiles = row_tiles(rows);
  const auto blocks = static_cast<int>(inputs / kernels::kBlockInputs);
  for (int64_t t = tiles * member / members; t < tiles * (member + 1) / members; ++t) {
    const int64_t first = t * kInputRows;
    table.quantize(static_cast<InputBlock*>(out) + t * blocks, x + first * stride, stride,
                   static_cast<int>(std::min<int64_t>(kInputRows, rows - first)), blocks);
  }
}

void multiply(Isa isa, const PackedWeight& weight, const void* quantized, int64_t rows, float* y,
              int64_t y_stride, uint8_t* scratch, ProductCounter& counter, int members) {
  const auto product = kernels::linear_table(isa).product[static_cast<int>(weight.type())];
  kernels::LinearCall call;
  call.x = static_cast<const InputBlock*>(quantized);
  call.blocks = weight.blocks();
  call.rows = static_cast<int>(rows);
  call.y_stride = y_stride;
  call.scratch = scratch;
  const int64_t groups = weight.groups();
  const int64_t run = groups_at_a_time(weight, rows, members);
  for (int64_t first; (first = counter.next.fetch_add(run, std::memory_order_relaxed)) < groups;) {
    for (int64_t g = first; g < std::min(groups, first + run); ++g) {
      call.group = weight.group(g);
      call.outputs = weight.outputs_of(g);
      call.y = y + g * kernels::kGroupOutputs;
      product(call);
    }
  }
  if (counter.left.fetch_add(1, std::memory_order_acq_rel) == members - 1) {
    counter.left.store(0, std::memory_order_relaxed);
    counter.next.store(0, std::memory_order_relaxed);
  }
}

}  // namespace heed
