// Other forms of the same problem: its pages elsewhere, its plan's pages dealt to tags.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "attention_problem.h"

namespace heed::test {

// Rewrites the sequences of a problem on pages taken from holes in random order: the same rows at
// other handles.
inline void scatter_pages(AttentionProblem& problem, uint64_t seed) {
  Store& store = problem.store();
  const AttentionCase& c = problem.problem();
  Random random(seed);
  std::vector<SeqId> fillers;
  for (int i = 0; i < 40; ++i) {
    fillers.push_back(*store.create_sequence());
    ASSERT_TRUE(store.begin_append(fillers.back(), 64).is_ok());
    store.commit(fillers.back());
  }
  for (size_t s = 0; s < problem.ids().size(); ++s) {
    const SeqId copy = *store.create_sequence(problem.seqs()[s].lists[0].pos0);
    const DenseKv& kv = problem.kv()[s];
    for (int at = 0; at < c.seqs[s].keys;) {
      if (!fillers.empty()) {
        const size_t i = random.below(fillers.size());
        ASSERT_TRUE(store.drop(fillers[i]).is_ok());
        fillers.erase(fillers.begin() + static_cast<int64_t>(i));
      }
      const int n = std::min<int>(c.seqs[s].keys - at, 1 + static_cast<int>(random.below(90)));
      ASSERT_TRUE(store.begin_append(copy, n).is_ok());
      for (int g = 0; g < c.kv_heads; ++g) {
        store.append_rows(copy, 0, g, 0, n, kv.k[g].data() + int64_t{at} * c.dk, c.dk,
                          kv.v[g].data() + int64_t{at} * c.dv, c.dv);
      }
      store.commit(copy);
      at += n;
    }
    problem.seqs()[s].lists = store.lists(copy, 0);
  }
}

// Deals the pages of a one-tag plan to `tags` tags: page p goes to tag p % tags.
inline void deal_pages(Plan& plan, int tags) {
  const Plan whole = plan;
  plan.ranges.clear();
  for (Item& item : plan.items) {
    const auto first = static_cast<int32_t>(plan.ranges.size());
    for (int tag = 0; tag < tags; ++tag) {
      for (int r = item.range; r < item.range + item.ranges; ++r) {
        const Range& range = whole.ranges[r];
        for (int p = range.begin; p < range.begin + range.len; ++p) {
          if (p % tags != tag) continue;
          plan.ranges.push_back({p, 1, 0, static_cast<uint8_t>(tag), range.rot, -1});
        }
      }
    }
    item.range = first;
    item.ranges = static_cast<int32_t>(plan.ranges.size()) - first;
  }
}

}  // namespace heed::test
