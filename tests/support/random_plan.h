// Plans that are not dense, made at random for a call: items of some rows and heads, which read
// ranges of pages, single slots or both, under explicit masks, by tag.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "attention_case.h"
#include "base/random.h"
#include "heed/attention.h"

namespace heed::test {

class RandomPlanner {
 public:
  RandomPlanner(const AttentionCase& c, const Call& call, Random& random, Plan& plan)
      : case_(c), call_(call), random_(random), plan_(plan) {}

  void make() {
    for (size_t s = 0; s < call_.seqs.size(); ++s) {
      for (int g = 0; g < case_.kv_heads; ++g) {
        const int group = group_size(g);
        if (group == 0) continue;
        const uint64_t all = group == 64 ? ~uint64_t{0} : (uint64_t{1} << group) - 1;
        const uint64_t some = group > 1 ? random_.bits() & all : 0;
        for (uint64_t heads : {some, all & ~some}) {
          if (heads != 0) make_items(static_cast<int>(s), g, heads);
        }
      }
    }
  }

 private:
  int group_size(int g) const {
    int n = 0;
    for (int h = 0; h < case_.heads; ++h) n += call_.heads.kv_of(h) == g;
    return n;
  }

  void make_items(int s, int g, uint64_t heads) {
    for (int row = 0; row < call_.seqs[s].rows;) {
      const int most = std::max(1, 48 / std::popcount(heads));
      const int rows =
          std::min<int>(call_.seqs[s].rows - row, 1 + static_cast<int>(random_.below(most)));
      Item item{s, g, heads, row, rows, static_cast<int32_t>(plan_.ranges.size()), 0};
      for (int tag = 0; tag < case_.tags; ++tag) {
        if (case_.tags > 1 && random_.below(8) == 0) continue;  // a tag may read nothing
        if (case_.plan != PlanKind::kGather) make_page_ranges(item, tag);
        if (case_.plan != PlanKind::kRanges) make_gather(item, tag);
      }
      item.ranges = static_cast<int32_t>(plan_.ranges.size()) - item.range;
      plan_.items.push_back(item);
      row += rows;
    }
  }

  uint16_t any_delta() {
    return case_.deltas ? static_cast<uint16_t>(random_.below(case_.deltas + 1)) : uint16_t{0};
  }

  // n masks behind the plan's: none, all, single bits and random ones.
  int32_t make_masks(int n) {
    const auto first = static_cast<int32_t>(plan_.tile_masks.size());
    for (int i = 0; i < n; ++i) {
      switch (random_.below(8)) {
        case 0: plan_.tile_masks.push_back(0); break;
        case 1: plan_.tile_masks.push_back(~uint64_t{0}); break;
        case 2: plan_.tile_masks.push_back(uint64_t{1} << random_.below(64)); break;
        default: plan_.tile_masks.push_back(random_.bits());
      }
    }
    return first;
  }

  // None, one row for all, or one for each row.
  void add_masks(const Item& item, int pages, Range& range) {
    if (!case_.tile_masks || random_.below(4) == 0) return;
    range.one_mask = random_.below(3) == 0;
    range.tile_mask = make_masks((range.one_mask ? 1 : item.rows) * pages);
  }

  void make_page_ranges(const Item& item, int tag) {
    const int pages =
        (call_.seqs[item.seq].lists[item.kv_head].len + kPageTokens - 1) / kPageTokens;
    for (int p = static_cast<int>(random_.below(2)); p < pages;) {
      const int len = std::min<int>(pages - p, 1 + static_cast<int>(random_.below(4)));
      Range range{p, len, 0, static_cast<uint8_t>(tag), any_delta(), -1};
      add_masks(item, len, range);
      plan_.ranges.push_back(range);
      p += len + static_cast<int>(random_.below(3));
    }
  }

  void make_gather(const Item& item, int tag) {
    const int len = call_.seqs[item.seq].lists[item.kv_head].len;
    const auto begin = static_cast<int32_t>(plan_.gather.size());
    const uint64_t one_in = 1 + random_.below(6);
    for (int slot = 0; slot < len; ++slot) {
      if (random_.below(one_in) == 0) plan_.gather.push_back(slot);
    }
    const auto n = static_cast<int32_t>(plan_.gather.size()) - begin;
    if (n == 0) return;
    Range range{begin, n, 1, static_cast<uint8_t>(tag), any_delta(), -1};
    const int pages = (n + kPageTokens - 1) / kPageTokens;
    add_masks(item, pages, range);
    plan_.ranges.push_back(range);
  }

  const AttentionCase& case_;
  const Call& call_;
  Random& random_;
  Plan& plan_;
};

// Appends to `plan`, for the kinds of plan that `c` may name but dense.
inline void make_random_plan(const AttentionCase& c, const Call& call, Random& random, Plan& plan) {
  RandomPlanner(c, call, random, plan).make();
}

}  // namespace heed::test
