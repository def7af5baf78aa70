#include "linear/listed_product.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/kernels.h"
#include "linear/group_product.h"

namespace heed {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::LinearTable;

namespace {

// In every form a tile of four rows is words of 32 bits, [words][4 rows].
using Word = uint32_t[kTileRows];
static_assert(sizeof(kernels::InputBlock) % sizeof(Word) == 0);
static_assert(offsetof(kernels::InputBlock, minus_sum) == sizeof(kernels::InputBlock::q));
static_assert(sizeof(kernels::InputBlock::sum) == sizeof(Word));

// Tile `t` of the list.
void gather_tile(Word* out, const Word* packed, std::span<const int32_t> rows, int64_t words) {
  if (rows.size() < kTileRows) std::memset(out, 0, static_cast<size_t>(words) * sizeof(Word));
  for (size_t r = 0; r < rows.size(); ++r) {
    const Word* const from = packed + rows[r] / kTileRows * words;
    const int column = rows[r] % kTileRows;
    for (int64_t w = 0; w < words; ++w) out[w][r] = from[w][column];
  }
}

void multiply_rows_of(const LinearTable& table, const ListedProduct& p, int64_t g,
                      const Worker& worker) {
  const PackedWeight& weight = *p.weight;
  const auto rows = static_cast<int64_t>(p.to.size());
  const int64_t tile_bytes = weight.blocks() * block_bytes(table, weight.input_form());
  const auto outputs = static_cast<size_t>(weight.outputs_of(g));
  float* const results = results_in_scratch(worker, weight.inputs());
  for (int64_t first = 0; first < rows; first += kScratchRows) {
    const int64_t n = std::min(kScratchRows, rows - first);
    multiply_group(
        table, weight, g, static_cast<const uint8_t*>(p.x) + first / kTileRows * tile_bytes, n,
        {.y = results, .stride = kGroupOutputs, .bias = outputs_from(p.bias, g)}, worker.scratch);
    for (int64_t r = 0; r < n; ++r) {
      float* const to = p.y + p.to[static_cast<size_t>(first + r)] * p.y_stride;
      std::memcpy(to + g * kGroupOutputs, results + r * kGroupOutputs, outputs * sizeof(float));
    }
  }
}

}  // namespace

void gather_inputs(Isa isa, InputForm form, void* out, const void* packed,
                   std::span<const int32_t> rows, int64_t inputs, int member, int members) {
  const int64_t words = inputs / kBlockInputs * block_bytes(kernels::linear_table(isa), form) /
                        static_cast<int64_t>(sizeof(Word));
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t tiles = row_tiles(count);
  for (int64_t t = tiles * member / members; t < tiles * (member + 1) / members; ++t) {
    const int64_t first = t * kTileRows;
    const auto of_tile =
        rows.subspan(static_cast<size_t>(first),
                     static_cast<size_t>(std::min<int64_t>(kTileRows, count - first)));
    gather_tile(static_cast<Word*>(out) + t * words, static_cast<const Word*>(packed), of_tile,
                words);
  }
}

void multiply_listed(Isa isa, std::span<const ListedProduct> products, const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  int64_t groups = 0, bytes = 0, most_rows = 0;
  for (const ListedProduct& p : products) {
    if (p.to.empty()) continue;  // an expert that nobody asked is not read
    groups += p.weight->groups();
    bytes += p.weight->bytes();
    most_rows = std::max(most_rows, static_cast<int64_t>(p.to.size()));
  }
  if (groups == 0) return;
  const int64_t run = groups_at_a_time(groups, bytes, most_rows, worker.members);
  share_groups(worker, groups, run, [&](int64_t g) {
    const ListedProduct* p = products.data();
    for (; p->to.empty() || g >= p->weight->groups(); ++p) {
      g -= p->to.empty() ? 0 : p->weight->groups();
    }
    multiply_rows_of(table, *p, g, worker);
  });
}

}  // namespace heed
