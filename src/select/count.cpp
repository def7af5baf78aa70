// What a plan computes, counted from its ranges and masks: the counters of a run say the same, and
// a step fails where they do not.
#include <algorithm>
#include <bit>

#include "attention/visible.h"
#include "select/bit_rows.h"
#include "select/compile.h"

namespace heed::select {
namespace {

// Slots or entries [first, end), at least one, in pages of 64 from 0 on.
PlanCounts count_span(int64_t first, int64_t end) {
  const auto pages = (end - 1) / kPageTokens - first / kPageTokens + 1;
  return {static_cast<uint64_t>(pages), static_cast<uint64_t>(end - first)};
}

void count_mask(uint64_t mask, PlanCounts& counts) {
  counts.tiles += mask != 0;
  counts.pairs += static_cast<uint64_t>(std::popcount(mask));
}

class RangeCounter {
 public:
  RangeCounter(const Plan& plan, const ListView& list, const Range& range)
      : plan_(plan), list_(list), range_(range), gathers_(range.source == 1) {
    pages_ = gathers_ ? pages_for(range.len) : range.len;
    slots_ = gathers_ ? plan.gather.data() + range.begin : nullptr;
  }

  // Row `row` of its item, which sees these slots.
  PlanCounts row(int32_t row, const Visible& seen) const {
    // In slots of the range, or entries of its gather list.
    int64_t first = seen.first, end = seen.end;
    if (gathers_) {
      first = std::lower_bound(slots_, slots_ + range_.len, seen.first) - slots_;
      end = std::lower_bound(slots_, slots_ + range_.len, seen.end) - slots_;
    } else {
      const int64_t slot0 = int64_t{range_.begin} * kPageTokens;
      first = std::max<int64_t>(first - slot0, 0);
      end = std::min<int64_t>(end - slot0, pages_ * kPageTokens);
    }
    if (first >= end) return {};
    if (range_.tile_mask < 0 && list_.live == nullptr) return count_span(first, end);
    PlanCounts counts;
    for (int64_t page = first / kPageTokens; page < pages_for(end); ++page) {
      const int64_t at = page * kPageTokens;
      count_mask(word_range(first - at, end - at) & live(page) & mask(row, page), counts);
    }
    return counts;
  }

 private:
  uint64_t mask(int32_t row, int64_t page) const {
    if (range_.tile_mask < 0) return ~uint64_t{0};
    const int64_t at = (range_.one_mask ? 0 : row * pages_) + page;
    return plan_.tile_masks[static_cast<size_t>(range_.tile_mask + at)];
  }
  uint64_t live(int64_t page) const {
    if (list_.live == nullptr) return ~uint64_t{0};
    if (!gathers_) return list_.live[range_.begin + page];
    uint64_t bits = 0;
    const int64_t first = page * kPageTokens;
    const int64_t n = std::min<int64_t>(kPageTokens, range_.len - first);
    for (int64_t i = 0; i < n; ++i) {
      const int32_t slot = slots_[first + i];
      bits |= (list_.live[slot / kPageTokens] >> (slot % kPageTokens) & 1) << i;
    }
    return bits;
  }

  const Plan& plan_;
  const ListView& list_;
  const Range& range_;
  bool gathers_;
  int64_t pages_ = 0;
  const int32_t* slots_ = nullptr;
};

}  // namespace

PlanCounts count_item(const Plan& plan, const Call& call, const Item& item) {
  const SeqRows& seq = call.seqs[static_cast<size_t>(item.seq)];
  const ListView& list = seq.lists[item.kv_head];
  PlanCounts counts;
  for (int32_t r = item.range; r < item.range + item.ranges; ++r) {
    const RangeCounter counter(plan, list, plan.ranges[static_cast<size_t>(r)]);
    for (int32_t t = 0; t < item.rows; ++t) {
      counts.add(counter.row(t, visible_slots(call, list, query_position(seq, item.row + t))));
    }
  }
  return counts;
}

PlanCounts count_visible(const Call& call, const SeqRows& seq, int kv_head, int32_t row,
                         int32_t rows) {
  const ListView& list = seq.lists[kv_head];
  Plan plan;
  const Range all{.begin = 0, .len = static_cast<int32_t>(pages_for(list.len))};
  const RangeCounter counter(plan, list, all);
  PlanCounts counts;
  for (int32_t t = row; t < row + rows; ++t) {
    counts.add(counter.row(0, visible_slots(call, list, query_position(seq, t))));
  }
  return counts;
}

}  // namespace heed::select
