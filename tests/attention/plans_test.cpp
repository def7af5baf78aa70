// What plans leave out: rows that no item covers, items that read nothing, pages that are skipped.
// Random plans with ranges, gathered slots, masks, deltas and tags are among the generated cases.
#include <gtest/gtest.h>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

TEST(Plans, rows_outside_every_item_are_not_written_and_items_without_ranges_give_zero) {
  for (Isa isa : tested_isas()) {
    DenseCase c({.n_q = 2, .n_kv = 1, .dk = 16, .dv = 16, .history = 80, .rows = 4}, isa);
    Plan plan;
    plan.items.push_back({.seq = 0, .kv_head = 0, .head_mask = 2, .row = 1, .rows = 2});
    const std::vector<float> out = c.run_plan(plan, 2);
    for (int t = 0; t < 4; ++t) {
      for (int h = 0; h < 2; ++h) {
        const bool covered = h == 1 && (t == 1 || t == 2);
        EXPECT_EQ(out[static_cast<size_t>((t * 2 + h) * 16)], covered ? 0.0f : -77.0f);
        EXPECT_EQ(c.lse[static_cast<size_t>(t * 2 + h)], covered ? -INFINITY : -77.0f);
      }
    }
  }
}

TEST(Plans, skipped_pages_are_not_computed) {
  for (Isa isa : tested_isas()) {
    DenseCase c({.n_q = 2, .n_kv = 1, .dk = 16, .dv = 16, .history = 64 * 40 - 1, .rows = 1}, isa);
    Plan plan;
    EXPECT_TRUE(plan_dense(c.call, plan).is_ok());
    c.run_plan(plan, 2);
    EXPECT_EQ(c.last.pages, 40u);
    EXPECT_EQ(c.last.tiles, 80u);
    plan.ranges[0].len = 10;
    c.run_plan(plan, 2);
    EXPECT_EQ(c.last.pages, 10u);
    EXPECT_EQ(c.last.tiles, 20u);
  }
}

}  // namespace
}  // namespace heed::test
