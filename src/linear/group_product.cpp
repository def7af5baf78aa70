#include "linear/group_product.h"

#include "kernels/kernels.h"

namespace heed {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::LinearTable;

namespace {

// With few rows the weight is streamed from memory, and a member that takes a run of neighbouring
// groups reads ahead of itself; with many, single groups balance the members better.
constexpr int64_t kStreamedRows = 16;
constexpr int64_t kRunBytes = 128 << 10;

constexpr int64_t kResultBytes = kScratchRows * kGroupOutputs * static_cast<int64_t>(sizeof(float));

// Inputs of a group are decoded by so many at a time, whole blocks of any decoder: 32 rows of them
// stay in the caches.
constexpr int64_t kDecodedBytes =
    RowDecoder::kMostInputs * kGroupOutputs * static_cast<int64_t>(sizeof(float));

// A group as bytes with fp32 scales, or as floats, the larger of the two.
int64_t expanded_bytes(int64_t inputs) {
  static_assert(kernels::kMostWideBlock >= kernels::kExpandedBlock);
  return inputs / kBlockInputs * static_cast<int64_t>(kernels::kMostWideBlock);
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

}  // namespace

int64_t groups_at_a_time(int64_t groups, int64_t bytes, int64_t rows, int members) {
  if (rows > kStreamedRows) return 1;
  return std::max<int64_t>(1, std::min(kRunBytes * groups / bytes, groups / (4 * members)));
}

void multiply_group(const LinearTable& table, const PackedWeight& weight, int64_t g, const void* x,
                    int64_t rows, const kernels::LinearResult& to, uint8_t* scratch) {
  kernels::LinearCall call;
  call.group = weight.group(g);
  call.x = x;
  call.blocks = weight.blocks();
  call.rows = static_cast<int>(rows);
  call.outputs = weight.outputs_of(g);
  call.to = to;
  call.scratch = scratch;
  multiply_codes(table, weight, g, call);
}

void multiply_gated_group(const LinearTable& table, const GatedProduct& product, int64_t g,
                          int64_t rows, const Worker& worker) {
  const auto activate = table.gate[static_cast<int>(product.activation)];
  const auto pack = table.pack[static_cast<int>(product.form)];
  const int64_t groups = product.gate->groups();
  const int64_t packed = block_bytes(table, product.form);
  float* const gate =
      results_in_scratch(worker, std::max(product.gate->inputs(), product.up->inputs()));
  float* const up = gate + kScratchRows * kGroupOutputs;
  const auto rows_at = [&](const PackedWeight& weight, const void* x, int64_t first) {
    return static_cast<const uint8_t*>(x) +
           first / kTileRows * weight.blocks() * block_bytes(table, weight.input_form());
  };
  for (int64_t first = 0; first < rows; first += kScratchRows) {
    const int64_t n = std::min(kScratchRows, rows - first);
    multiply_group(table, *product.gate, g, rows_at(*product.gate, product.gate_x, first), n,
                   {.y = gate, .stride = kGroupOutputs, .bias = outputs_from(product.gate_bias, g)},
                   worker.scratch);
    multiply_group(table, *product.up, g, rows_at(*product.up, product.up_x, first), n,
                   {.y = up, .stride = kGroupOutputs, .bias = outputs_from(product.up_bias, g)},
                   worker.scratch);
    activate(gate, up, static_cast<int>(n * kGroupOutputs));
    for (int64_t r = 0; r < n; r += kTileRows) {
      const int64_t tile = (first + r) / kTileRows;
      pack(static_cast<uint8_t*>(product.out) + (tile * groups + g) * packed,
           gate + r * kGroupOutputs, kGroupOutputs,
           static_cast<int>(std::min<int64_t>(kTileRows, n - r)), 1);
    }
  }
}

int64_t group_scratch_bytes(int64_t inputs) {
  return expanded_bytes(inputs) + kDecodedBytes + 2 * kResultBytes;
}

float* results_in_scratch(const Worker& worker, int64_t inputs) {
  return reinterpret_cast<float*>(worker.scratch + expanded_bytes(inputs) + kDecodedBytes);
}

}  // namespace heed
