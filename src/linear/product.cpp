#include "linear/product.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "linear/group_product.h"

namespace heed {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::LinearTable;

int64_t packed_input_bytes(InputForm form, int64_t rows, int64_t inputs) {
  const size_t block =
      form == InputForm::kBytes ? sizeof(kernels::InputBlock) : kernels::kMostBlockBytes;
  return row_tiles(rows) * (inputs / kBlockInputs) * static_cast<int64_t>(block);
}

int64_t product_scratch_bytes(int64_t inputs) {
  const int64_t normed = kTileRows * inputs * static_cast<int64_t>(sizeof(float));
  return std::max(group_scratch_bytes(inputs), normed);
}

void pack_inputs(Isa isa, InputForm form, void* out, const Input& input, uint8_t* scratch,
                 int member, int members) {
  const LinearTable& table = kernels::linear_table(isa);
  const auto pack = table.pack[static_cast<int>(form)];
  const int64_t tiles = row_tiles(input.rows);
  const auto blocks = static_cast<int>(input.inputs / kBlockInputs);
  auto* const normed = reinterpret_cast<float*>(scratch);
  for (int64_t t = tiles * member / members; t < tiles * (member + 1) / members; ++t) {
    auto* const to = static_cast<uint8_t*>(out) + t * blocks * block_bytes(table, form);
    const int64_t first = t * kTileRows;
    const int rows = static_cast<int>(std::min<int64_t>(kTileRows, input.rows - first));
    const float* x = input.x + first * input.stride;
    if (input.norm == nullptr) {
      pack(to, x, input.stride, rows, blocks);
      continue;
    }
    for (int r = 0; r < rows; ++r) {
      table.rms_norm(normed + r * input.inputs, x + r * input.stride, input.norm,
                     static_cast<int>(input.inputs), input.eps);
    }
    pack(to, normed, input.inputs, rows, blocks);
  }
}

void multiply(Isa isa, std::span<const Product> products, int64_t rows, const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  int64_t groups = 0, bytes = 0;
  for (const Product& p : products) {
    groups += p.weight->groups();
    bytes += p.weight->bytes();
  }
  const int64_t run = groups_at_a_time(groups, bytes, rows, worker.members);
  share_groups(worker, groups, run, [&](int64_t g) {
    const Product* p = products.data();
    for (; g >= p->weight->groups(); ++p) g -= p->weight->groups();
    multiply_group(table, *p->weight, g, p->x, rows,
                   {.y = p->y + g * kGroupOutputs,
                    .stride = p->y_stride,
                    .bias = outputs_from(p->bias, g),
                    .residual = outputs_from(p->residual, g),
                    .residual_stride = p->residual_stride},
                   worker.scratch);
  });
}

void activate(Isa isa, Activation activation, float* gate, const float* up, int64_t n) {
  kernels::linear_table(isa).gate[static_cast<int>(activation)](gate, up, static_cast<int>(n));
}

void multiply_gated(Isa isa, const GatedProduct& product, int64_t rows, const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  const int64_t groups = product.gate->groups();
  const int64_t bytes = product.gate->bytes() + product.up->bytes();
  const int64_t run = groups_at_a_time(groups, bytes, rows, worker.members);
  share_groups(worker, groups, run,
               [&](int64_t g) { multiply_gated_group(table, product, g, rows, worker); });
}

}  // namespace heed
