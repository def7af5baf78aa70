#include "linear/expert_product.h"

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

int64_t tile_bytes(const LinearTable& table, InputForm form, int64_t inputs) {
  return inputs / kBlockInputs * block_bytes(table, form);
}

// One tile, for up to four slots.
void gather_tile(Word* out, const Gather& gather, std::span<const int32_t> slots, int64_t words) {
  if (slots.size() < kTileRows) std::memset(out, 0, static_cast<size_t>(words) * sizeof(Word));
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t row = slots[i] / gather.slots_per_row;
    const Word* const from = static_cast<const Word*>(gather.packed) + row / kTileRows * words;
    const int64_t column = row % kTileRows;
    for (int64_t w = 0; w < words; ++w) out[w][i] = from[w][column];
  }
}

const uint8_t* list_input(const LinearTable& table, const ExpertWeights& of,
                          const ExpertLists& lists, int i) {
  const PackedWeight& weight = of.weights.front();
  return static_cast<const uint8_t*>(of.x) +
         lists.tile(i) * tile_bytes(table, weight.input_form(), weight.inputs());
}

const float* list_bias(const ExpertWeights& of, int expert) {
  return of.bias == nullptr ? nullptr : of.bias + expert * of.weights.front().outputs();
}

// fn(list, group) for this member's share of the groups of all lists.
template <class Fn>
void share_lists(const ExpertLists& lists, int64_t groups, int64_t bytes, const Worker& worker,
                 const Fn& fn) {
  if (lists.count() == 0) return;
  size_t most_rows = 0;
  for (int i = 0; i < lists.count(); ++i) most_rows = std::max(most_rows, lists.slots(i).size());
  const int64_t all = groups * lists.count();
  const int64_t run =
      groups_at_a_time(all, bytes * lists.count(), static_cast<int64_t>(most_rows), worker.members);
  share_groups(worker, all, run,
               [&](int64_t at) { fn(static_cast<int>(at / groups), at % groups); });
}

// Group g of an expert's results, each to its slot.
void multiply_list(const LinearTable& table, const ExpertProduct& p, const ExpertLists& lists,
                   int i, int64_t g, const Worker& worker) {
  const int expert = lists.expert(i);
  const PackedWeight& weight = p.of.weights[static_cast<size_t>(expert)];
  const std::span<const int32_t> slots = lists.slots(i);
  const uint8_t* const x = list_input(table, p.of, lists, i);
  const float* const bias = outputs_from(list_bias(p.of, expert), g);
  const auto outputs = static_cast<size_t>(weight.outputs_of(g));
  const int64_t tile = tile_bytes(table, weight.input_form(), weight.inputs());
  float* const results = results_in_scratch(worker, weight.inputs());
  const auto rows = static_cast<int64_t>(slots.size());
  for (int64_t first = 0; first < rows; first += kScratchRows) {
    const int64_t n = std::min(kScratchRows, rows - first);
    multiply_group(table, weight, g, x + first / kTileRows * tile, n,
                   {.y = results, .stride = kGroupOutputs, .bias = bias}, worker.scratch);
    for (int64_t r = 0; r < n; ++r) {
      float* const to = p.y + slots[static_cast<size_t>(first + r)] * p.y_stride;
      std::memcpy(to + g * kGroupOutputs, results + r * kGroupOutputs, outputs * sizeof(float));
    }
  }
}

}  // namespace

int64_t gathered_input_bytes(InputForm form, const ExpertLists::Size& size, int64_t inputs) {
  return packed_input_bytes(form, ExpertLists::most_tiles(size) * kTileRows, inputs);
}

void gather_inputs(Isa isa, const ExpertLists& lists, const Gather& gather, void* out, int member,
                   int members) {
  const int64_t words = tile_bytes(kernels::linear_table(isa), gather.form, gather.inputs) /
                        static_cast<int64_t>(sizeof(Word));
  int64_t tiles = 0;  // of the lists before
  for (int i = 0; i < lists.count(); ++i) {
    const std::span<const int32_t> slots = lists.slots(i);
    // Tile after tile to the members in turn: lists differ in length.
    for (size_t first = 0; first < slots.size(); first += kTileRows, ++tiles) {
      if (tiles % members != member) continue;
      const size_t n = std::min<size_t>(kTileRows, slots.size() - first);
      gather_tile(static_cast<Word*>(out) + tiles * words, gather, slots.subspan(first, n), words);
    }
  }
}

void multiply_experts(Isa isa, const ExpertLists& lists, const ExpertProduct& product,
                      const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  const PackedWeight& shape = product.of.weights.front();
  share_lists(lists, shape.groups(), shape.bytes(), worker,
              [&](int i, int64_t g) { multiply_list(table, product, lists, i, g, worker); });
}

void multiply_experts_gated(Isa isa, const ExpertLists& lists, const ExpertGatedProduct& product,
                            const Worker& worker) {
  const LinearTable& table = kernels::linear_table(isa);
  const PackedWeight &gate = product.gate.weights.front(), &up = product.up.weights.front();
  const int64_t out_tile = tile_bytes(table, product.form, gate.outputs());
  share_lists(lists, gate.groups(), gate.bytes() + up.bytes(), worker, [&](int i, int64_t g) {
    const int expert = lists.expert(i);
    const GatedProduct one{
        .gate = &product.gate.weights[static_cast<size_t>(expert)],
        .up = &product.up.weights[static_cast<size_t>(expert)],
        .gate_x = list_input(table, product.gate, lists, i),
        .up_x = list_input(table, product.up, lists, i),
        .gate_bias = list_bias(product.gate, expert),
        .up_bias = list_bias(product.up, expert),
        .activation = product.activation,
        .form = product.form,
        .out = static_cast<uint8_t*>(product.out) + lists.tile(i) * out_tile,
    };
    multiply_gated_group(table, one, g, static_cast<int64_t>(lists.slots(i).size()), worker);
  });
}

void sum_experts(const ExpertSum& sum, int member, int members) {
  const int64_t begin = sum.width * member / members, end = sum.width * (member + 1) / members;
  for (int64_t t = 0; t < sum.rows; ++t) {
    float* const out = sum.out + t * sum.width;
    const float* const residual = sum.residual + t * sum.residual_stride;
    std::fill(out + begin, out + end, 0.0f);
    for (int r = 0; r < sum.used; ++r) {
      const float share = sum.shares[t * sum.used + r];
      const float* const y = sum.y + (t * sum.used + r) * sum.width;
      for (int64_t c = begin; c < end; ++c) out[c] += share * y[c];
    }
    for (int64_t c = begin; c < end; ++c) out[c] += residual[c];
  }
}

}  // namespace heed
