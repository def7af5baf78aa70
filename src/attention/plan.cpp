// The dense plan: every query block reads every page that its mask lets it see.
#include <algorithm>
#include <new>

#include "attention/tiling.h"
#include "attention/visible.h"
#include "base/guard.h"
#include "heed/attention.h"

namespace heed {

void Plan::clear() {
  items.clear();
  ranges.clear();
  gather.clear();
  tile_masks.clear();
}

int tile_tokens(int group, int dk, int dv) {
  // Two accumulators (a split and what was merged before) and the packed query stay in L2, beside
  // the pages that stream through it.
  constexpr int kScratchBytes = 384 * 1024;
  constexpr int kFewestRows = 24, kMostRows = 96;
  const int rows = std::clamp(kScratchBytes / (8 * dv + 4 * dk), kFewestRows, kMostRows);
  return std::max(1, rows / std::max(1, group));
}

namespace {

// Rows [begin, end) of the sequence that form one block: blocks start at multiples of `tokens` in
// position, so a chunk border does not move them. Scattered positions are cut by count.
int32_t block_begin(const SeqRows& seq, int32_t end, int tokens) {
  if (seq.pos != nullptr) return std::max<int32_t>(0, end - tokens);
  const int64_t last = seq.pos0 + end - 1;
  const int64_t first = last - ((last % tokens) + tokens) % tokens;
  return static_cast<int32_t>(std::max<int64_t>(0, first - seq.pos0));
}

Range block_range(const Call& call, const SeqRows& seq, const ListView& list, int32_t begin,
                  int32_t end) {
  int32_t first = list.len, last = 0;
  for (int32_t t = begin; t < end; ++t) {
    const Visible v = visible_slots(call, list, query_position(seq, t));
    if (v.first >= v.end) continue;
    first = std::min(first, v.first);
    last = std::max(last, v.end);
  }
  Range range;
  if (first < last) {
    range.begin = first / kPageTokens;
    range.len = static_cast<int32_t>(pages_for(last)) - range.begin;
  }
  return range;
}

// `item` for all heads of its group.
void add_items(Item item, int group, const Range& range, Plan& plan) {
  for (int h = 0; h < group; h += kItemHeads) {
    const int heads = std::min(kItemHeads, group - h);
    item.first_head = h;
    item.head_mask = ~uint64_t{0} >> (kItemHeads - heads);
    item.range = static_cast<int32_t>(plan.ranges.size());
    item.ranges = range.len > 0 ? 1 : 0;
    if (range.len > 0) plan.ranges.push_back(range);
    plan.items.push_back(item);
  }
}

void add_sequence(const Call& call, int32_t s, int tokens, Plan& plan) {
  const SeqRows& seq = call.seqs[s];
  // The last blocks see most keys: they go first, so that the threads finish together.
  for (int32_t end = seq.rows; end > 0;) {
    const int32_t begin = block_begin(seq, end, tokens);
    for (int g = 0; g < call.heads.n_kv; ++g) {
      Item item;
      item.seq = s;
      item.kv_head = g;
      item.row = begin;
      item.rows = end - begin;
      const Range range = block_range(call, seq, seq.lists[g], begin, end);
      add_items(item, group_size(call.heads, g), range, plan);
    }
    end = begin;
  }
}

}  // namespace

Status plan_dense(const Call& call, Plan& plan) {
  const size_t items = plan.items.size(), ranges = plan.ranges.size();
  const int tokens = tile_tokens(largest_group(call.heads), call.dk, call.dv);
  try {
    for (size_t s = 0; s < call.seqs.size(); ++s) {
      add_sequence(call, static_cast<int32_t>(s), tokens, plan);
    }
    return {};
  } catch (const std::bad_alloc&) {
    plan.items.resize(items);
    plan.ranges.resize(ranges);
    return exhausted("no memory for the attention plan of ", call.seqs.size(),
                     " sequences; use smaller chunks");
  }
}

}  // namespace heed
