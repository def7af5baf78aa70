// What plans leave out: rows that no item covers, items that read nothing, pages that are skipped.
// Random plans with ranges, gathered slots, masks, deltas and tags are among the generated cases.
#include <gtest/gtest.h>

#include "attention_problem.h"
#include "isa_list.h"

namespace heed::test {
namespace {

TEST(Plans, rows_outside_every_item_are_not_written_and_items_without_ranges_give_zero) {
  for (Isa isa : tested_isas()) {
    AttentionProblem problem(
        {.isa = isa, .heads = 2, .kv_heads = 1, .dk = 16, .dv = 16, .seqs = {{4, 84}}});
    problem.plan() = {};
    problem.plan().items.push_back({.seq = 0, .kv_head = 0, .head_mask = 2, .row = 1, .rows = 2});
    const Output output = problem.run(2);
    for (int t = 0; t < 4; ++t) {
      for (int h = 0; h < 2; ++h) {
        const bool covered = h == 1 && (t == 1 || t == 2);
        const float untouched = RowBuffer::kUntouched;
        EXPECT_EQ(output.out[static_cast<size_t>((t * 2 + h) * 16)], covered ? 0.0f : untouched);
        EXPECT_EQ(output.lse[static_cast<size_t>(t * 2 + h)], covered ? -INFINITY : untouched);
      }
    }
  }
}

TEST(Plans, skipped_pages_are_not_computed) {
  for (Isa isa : tested_isas()) {
    AttentionProblem problem(
        {.isa = isa, .heads = 2, .kv_heads = 1, .dk = 16, .dv = 16, .seqs = {{1, 64 * 40}}});
    problem.run(2);
    EXPECT_EQ(problem.last_counters().pages, 40u);
    EXPECT_EQ(problem.last_counters().tiles, 80u);
    problem.plan().ranges[0].len = 10;
    problem.run(2);
    EXPECT_EQ(problem.last_counters().pages, 10u);
    EXPECT_EQ(problem.last_counters().tiles, 20u);
  }
}

}  // namespace
}  // namespace heed::test
