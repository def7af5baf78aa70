// The steps that products share (product.h, expert_product.h): groups shared out to members, and
// one group times the packed rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "linear/product.h"

namespace heed {

// Rows whose results for a group stand in a member's scratch at a time: twice 64 KiB.
inline constexpr int64_t kScratchRows = 512;

inline int64_t row_tiles(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

inline int64_t block_bytes(const kernels::LinearTable& table, InputForm form) {
  return static_cast<int64_t>(table.block_bytes[static_cast<int>(form)]);
}

// Groups that a member takes at a time, of `groups` that hold `bytes`.
int64_t groups_at_a_time(int64_t groups, int64_t bytes, int64_t rows, int members);

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

// `rows` of x times group g.
void multiply_group(const kernels::LinearTable& table, const PackedWeight& weight, int64_t g,
                    const void* x, int64_t rows, const kernels::LinearResult& to, uint8_t* scratch);

// Group g of both products, activated and packed to product.out.
void multiply_gated_group(const kernels::LinearTable& table, const GatedProduct& product, int64_t g,
                          int64_t rows, const Worker& worker);

// The part that belongs to group g of a vector over all outputs; null where there is none.
inline const float* outputs_from(const float* all, int64_t g) {
  return all == nullptr ? nullptr : all + g * kernels::kGroupOutputs;
}

// Of a member, with the two results of kScratchRows rows.
int64_t group_scratch_bytes(int64_t inputs);
// The first of them, where weights have `inputs`; the second follows it.
float* results_in_scratch(const Worker& worker, int64_t inputs);

}  // namespace heed
