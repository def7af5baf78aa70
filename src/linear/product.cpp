#include "linear/product.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/linear/linear.h"

namespace heed {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::LinearTable;

namespace {

// With few rows the weight is streamed from memory, and a member that takes a run of neighbouring
// groups reads ahead of itself; with many, single groups balance the members better.
constexpr int64_t kStreamedRows = 16;
constexpr int64_t kRunBytes = 128 << 10;

// Rows whose gate and up values stand in the scratch at a time: 2 x 64 KiB.
constexpr int64_t kGatedRows = 512;
constexpr int64_t kGatedBytes = kGatedRows * kGroupOutputs * static_cast<int64_t>(sizeof(float));

int64_t row_tiles(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

int64_t block_bytes(const LinearTable& table, InputForm form) {
  return static_cast<int64_t>(table.block_bytes[static_cast<int>(form)]);
}

// Inputs of a group are decoded by so many at a time, whole blocks of any decoder: 32 rows of them
// stay in the caches.
constexpr int64_t kDecodedBytes =
    RowDecoder::kMostInputs * kGroupOutputs * static_cast<int64_t>(sizeof(float));

// A group as bytes with fp32 scales, or as floats, the larger of the two.
int64_t expanded_bytes(int64_t inputs) {
  static_assert(kernels::kMostWideBlock >= kernels::kExpandedBlock);
  return inputs / kBlockInputs * static_cast<int64_t>(kernels::kMostWideBlock);
}

int64_t groups_at_a_time(int64_t groups, int64_t bytes, int64_t rows, int members) {
  if (rows > kStreamedRows) return 1;
  return std::max<int64_t>(1, std::min(kRunBytes * groups / bytes, groups / (4 * members)));
}

// fn(group) for this member's share of [0, groups).
template <class Fn>
void share_groups(const Worker& worker, int64_t groups, int64_t run, const Fn& fn) {
  ProductCounter& counter = *worker.counter;
  for (int64_t first; (first = counter.next.fetch_add(run, std::memory_order_relaxed)) < groups;) {
    for (int64_t g = first; g < std::min(groups, first + run); ++g) fn(g);
  }
  if (counter.left.fetch_add(1, std::memory_order_acq_rel) == worker.members - 1) {
    counter.left.store(0, std::memory_order_relaxed);
    counter.next.store(0, std::memory_order_relaxed);
  }
}

// Rows of the file, some inputs of all of them after the other. `decoded` holds kDecodedBytes.
void widen_decoded(const LinearTable& table, const PackedWeight& weight, int64_t g, uint8_t* out,
                   float* decoded) {
  const RowDecoder& decoder = *weight.decoder();
  const int64_t row_bytes = weight.inputs() / decoder.inputs * decoder.bytes;
  const int outputs = weight.outputs_of(g);
  for (int64_t first = 0; first < weight.inputs(); first += RowDecoder::kMostInputs) {
    const int64_t n = std::min(RowDecoder::kMostInputs, weight.inputs() - first);
    for (int o = 0; o < outputs; ++o) {
      decoder.to_floats(weight.group(g) + o * row_bytes + first / decoder.inputs * decoder.bytes,
                        decoded + o * n, n);
    }
    table.widen_rows(out, decoded, n, outputs, static_cast<int>(n / kBlockInputs));
    out += n / kBlockInputs * static_cast<int64_t>(table.wide_block_bytes);
  }
}

// The kernel of a weight, with its group widened to `scratch` where it reads floats.
void multiply_codes(const LinearTable& table, const PackedWeight& weight, int64_t g,
                    kernels::LinearCall& call) {
  if (!weight.wide()) return table.product[static_cast<int>(weight.type())](call);
  if (weight.decoder() != nullptr) {
    auto* const decoded = reinterpret_cast<float*>(call.scratch + expanded_bytes(weight.inputs()));
    widen_decoded(table, weight, g, call.scratch, decoded);
  } else {
    table.widen[static_cast<int>(weight.type())](call.scratch, call.group, call.blocks);
  }
  call.group = call.scratch;
  table.wide_product(call);
}

// y [rows, outputs of the group] = x W^T + bias.
void multiply_group(const LinearTable& table, const PackedWeight& weight, int64_t g, const void* x,
                    int64_t rows, float* y, int64_t y_stride, const float* bias, uint8_t* scratch) {
  kernels::LinearCall call;
  call.group = weight.group(g);
  call.x = x;
  call.blocks = weight.blocks();
  call.rows = static_cast<int>(rows);
  call.outputs = weight.outputs_of(g);
  call.y = y;
  call.y_stride = y_stride;
  call.scratch = scratch;
  multiply_codes(table, weight, g, call);
  if (bias != nullptr) {
    table.add_rows(y, y_stride, bias + g * kGroupOutputs, 0, call.rows, call.outputs);
  }
}

}  // namespace

int64_t packed_input_bytes(InputForm form, int64_t rows, int64_t inputs) {
  const size_t block =
      form == InputForm::kBytes ? sizeof(kernels::InputBlock) : kernels::kMostBlockBytes;
  return row_tiles(rows) * (inputs / kBlockInputs) * static_cast<int64_t>(block);
}

int64_t product_scratch_bytes(int64_t inputs) {
  const int64_t normed = kTileRows * inputs * static_cast<int64_t>(sizeof(float));
  return std::max(expanded_bytes(inputs) + kDecodedBytes + 2 * kGatedBytes, normed);
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
    const int64_t column = g * kGroupOutputs;
    multiply_group(table, *p->weight, g, p->x, rows, p->y + column, p->y_stride, p->bias,
                   worker.scratch);
    if (p->residual != nullptr) {
      table.add_rows(p->y + column, p->y_stride, p->residual + column, p->residual_stride,
                     static_cast<int>(rows), p->weight->outputs_of(g));
    }
  });
}

void activate(Isa isa, Activation activation, float* gate, const float* up, int64_t n) {
  kernels::linear_table(isa).gate[static_cast<int>(activation)](gate, up, static_cast<int>(n));
}

void multiply_gated(Isa isa, const GatedProduct& product, int64_t rows, const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  const auto activate = table.gate[static_cast<int>(product.activation)];
  const auto pack = table.pack[static_cast<int>(product.form)];
  const int64_t groups = product.gate->groups();
  const int64_t bytes = product.gate->bytes() + product.up->bytes();
  const int64_t run = groups_at_a_time(groups, bytes, rows, worker.members);
  const int64_t packed = block_bytes(table, product.form);
  uint8_t* const temporary =
      worker.scratch + expanded_bytes(std::max(product.gate->inputs(), product.up->inputs())) +
      kDecodedBytes;
  auto* const gate = reinterpret_cast<float*>(temporary);
  auto* const up = reinterpret_cast<float*>(temporary + kGatedBytes);
  const auto rows_at = [&](const PackedWeight& weight, const void* x, int64_t first) {
    return static_cast<const uint8_t*>(x) +
           first / kTileRows * weight.blocks() * block_bytes(table, weight.input_form());
  };
  share_groups(worker, groups, run, [&](int64_t g) {
    for (int64_t first = 0; first < rows; first += kGatedRows) {
      const int64_t n = std::min(kGatedRows, rows - first);
      multiply_group(table, *product.gate, g, rows_at(*product.gate, product.gate_x, first), n,
                     gate, kGroupOutputs, product.gate_bias, worker.scratch);
      multiply_group(table, *product.up, g, rows_at(*product.up, product.up_x, first), n, up,
                     kGroupOutputs, product.up_bias, worker.scratch);
      activate(gate, up, static_cast<int>(n * kGroupOutputs));
      for (int64_t r = 0; r < n; r += kTileRows) {
        const int64_t tile = (first + r) / kTileRows;
        pack(static_cast<uint8_t*>(product.out) + (tile * groups + g) * packed,
             gate + r * kGroupOutputs, kGroupOutputs,
             static_cast<int>(std::min<int64_t>(kTileRows, n - r)), 1);
      }
    }
  });
}

}  // namespace heed
