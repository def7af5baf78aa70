#include "linear/low_rank.h"

#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"
#include "linear/group_product.h"

namespace heed {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::LinearTable;

namespace {

constexpr int64_t kSliceBlocks = kSliceInputs / kBlockInputs;
// Rows whose A x stands packed in a member's scratch at a time.
constexpr int64_t kAddRows = 64;
constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
constexpr auto kForm = static_cast<int>(InputForm::kFloats);

int64_t padded(int64_t n) { return (n + kBlockInputs - 1) / kBlockInputs * kBlockInputs; }

struct Scratch {
  Scratch(uint8_t* memory, int64_t inputs, int64_t rank)
      : rows(reinterpret_cast<float*>(memory)),
        packed(memory + plain_bytes(inputs, rank)),
        product(packed + plain_bytes(inputs, rank)) {}
  static int64_t plain_bytes(int64_t inputs, int64_t rank) {
    return std::max(kTileRows * padded(inputs), kAddRows * rank) * kFloat;
  }
  // A group of F16 widened to floats.
  static int64_t product_bytes(int64_t inputs, int64_t rank) {
    return std::max(std::min(padded(inputs), kSliceInputs), rank) * kGroupOutputs * kFloat;
  }
  float* rows;      // a tile of x, or kAddRows rows of A x
  uint8_t* packed;  // the same as products read it
  uint8_t* product;
};

int64_t largest_rank(const LowRankCall& call) {
  int64_t rank = 0;
  for (const LowRankTerm& term : call.terms) rank = std::max(rank, term.b->inputs());
  return rank;
}

int64_t slices_of(const LowRankTerm& term) {
  return term.a == nullptr ? 1 : low_rank_slices(term.a->inputs());
}

// Four rows of x, normed and padded, in the form of the products.
void pack_tile(const LinearTable& table, const LowRankCall& call, int64_t first, int rows,
               const Scratch& scratch) {
  const int64_t width = padded(call.inputs);
  for (int r = 0; r < rows; ++r) {
    const float* const from = call.x + (first + r) * call.x_stride;
    float* const to = scratch.rows + r * width;
    if (call.norm != nullptr) {
      table.rms_norm(to, from, call.norm, static_cast<int>(call.inputs), call.eps);
    } else {
      std::copy_n(from, call.inputs, to);
    }
    std::fill(to + call.inputs, to + width, 0.0f);
  }
  table.pack[kForm](scratch.packed, scratch.rows, width, rows,
                    static_cast<int>(width / kBlockInputs));
}

// Group g of one slice of A times a tile.
void sum_slice(const LinearTable& table, const LowRankTerm& term, int64_t slice, int64_t g,
               int64_t first, int rows, const Scratch& scratch) {
  const PackedWeight& a = *term.a;
  const int64_t from = slice * kSliceBlocks;
  const int64_t blocks = std::min<int64_t>(kSliceBlocks, a.blocks() - from);
  const int64_t slices = slices_of(term), rank = term.b->inputs();
  kernels::LinearCall call;
  call.group = a.group(g) + from * (a.bytes() / a.groups() / a.blocks());
  call.x = scratch.packed + from * static_cast<int64_t>(table.block_bytes[kForm]);
  call.blocks = static_cast<int>(blocks);
  call.rows = rows;
  call.outputs = a.outputs_of(g);
  call.to.y = term.sums + (first * slices + slice) * rank + g * kGroupOutputs;
  call.to.stride = slices * rank;
  call.scratch = scratch.product;
  table.product[static_cast<int>(a.type())](call);
}

// scale A x of `rows` rows behind `first`, packed.
void pack_sums(const LinearTable& table, const LowRankTerm& term, int64_t first, int64_t rows,
               const Scratch& scratch) {
  const int64_t slices = slices_of(term), rank = term.b->inputs();
  for (int64_t r = 0; r < rows; ++r) {
    const float* const from = term.sums + (first + r) * slices * rank;
    float* const to = scratch.rows + r * rank;
    std::copy_n(from, term.rank, to);
    for (int64_t s = 1; s < slices; ++s) {
      for (int64_t i = 0; i < term.rank; ++i) to[i] += from[s * rank + i];
    }
    for (int64_t i = 0; i < term.rank; ++i) to[i] *= term.scale;
    std::fill(to + term.rank, to + rank, 0.0f);
  }
  const int64_t blocks = rank / kBlockInputs;
  const int64_t tile = blocks * static_cast<int64_t>(table.block_bytes[kForm]);
  for (int64_t r = 0; r < rows; r += kTileRows) {
    table.pack[kForm](scratch.packed + r / kTileRows * tile, scratch.rows + r * rank, rank,
                      static_cast<int>(std::min<int64_t>(kTileRows, rows - r)),
                      static_cast<int>(blocks));
  }
}

}  // namespace

int64_t low_rank_slices(int64_t inputs) {
  return std::max<int64_t>(1, (padded(inputs) + kSliceInputs - 1) / kSliceInputs);
}

int64_t low_rank_sums(int64_t inputs, int64_t padded_rank) {
  return low_rank_slices(inputs) * padded_rank;
}

int64_t low_rank_scratch_bytes(int64_t inputs, int64_t padded_rank) {
  constexpr int64_t kLine = 64;
  const int64_t bytes =
      2 * Scratch::plain_bytes(inputs, padded_rank) + Scratch::product_bytes(inputs, padded_rank);
  return (bytes + kLine - 1) / kLine * kLine;
}

void low_rank_sum(Isa isa, const LowRankCall& call, uint8_t* memory, int member, int members) {
  const LinearTable& table = kernels::linear_table(isa);
  const Scratch scratch(memory, call.inputs, largest_rank(call));
  int64_t of_tile = 0;
  for (const LowRankTerm& term : call.terms) {
    if (term.a != nullptr) of_tile += slices_of(term) * term.a->groups();
  }
  const int64_t all = of_tile * row_tiles(call.rows);
  const int64_t end = all * (member + 1) / members;
  int64_t item = all * member / members;
  while (item < end) {
    const int64_t tile = item / of_tile, first = tile * kTileRows;
    const auto rows = static_cast<int>(std::min<int64_t>(kTileRows, call.rows - first));
    pack_tile(table, call, first, rows, scratch);
    int64_t at = tile * of_tile;
    for (const LowRankTerm& term : call.terms) {
      if (term.a == nullptr) continue;
      for (int64_t s = 0; s < slices_of(term); ++s) {
        for (int64_t g = 0; g < term.a->groups(); ++g, ++at) {
          if (at < item || at >= end) continue;
          sum_slice(table, term, s, g, first, rows, scratch);
        }
      }
    }
    item = (tile + 1) * of_tile;
  }
}

void low_rank_add(Isa isa, const LowRankCall& call, uint8_t* memory, int member, int members) {
  const LinearTable& table = kernels::linear_table(isa);
  const Scratch scratch(memory, call.inputs, largest_rank(call));
  for (int64_t first = 0; first < call.rows; first += kAddRows) {
    const int64_t rows = std::min(kAddRows, call.rows - first);
    for (const LowRankTerm& term : call.terms) {
      const int64_t groups = term.b->groups();
      const int64_t begin = groups * member / members, end = groups * (member + 1) / members;
      if (begin == end) continue;
      pack_sums(table, term, first, rows, scratch);
      for (int64_t g = begin; g < end; ++g) {
        float* const y = term.y + first * term.y_stride + g * kGroupOutputs;
        multiply_group(
            table, *term.b, g, scratch.packed, rows,
            {.y = y, .stride = term.y_stride, .residual = y, .residual_stride = term.y_stride},
            scratch.product);
      }
    }
  }
}

}  // namespace heed
