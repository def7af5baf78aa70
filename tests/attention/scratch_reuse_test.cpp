// One workspace serves calls of different layers, formats, unit kinds and team sizes: nothing that
// a call leaves behind (scratch bytes, the unit counter, the barrier) reaches the next one.
#include <gtest/gtest.h>

#include <limits>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

std::vector<float> run_on(DenseCase& c, const Plan& plan, Workspace& workspace, cpu::Team& team) {
  std::fill(c.out.begin(), c.out.end(), -77.0f);
  EXPECT_TRUE(workspace.reserve(plan, c.call).is_ok());
  team.run([&](int member, int members) { run(plan, c.call, workspace, member, members); });
  return c.out;
}

// All query rows of the case against single slots.
Plan gather_plan(const DenseCase& c, const std::vector<int32_t>& slots) {
  Plan plan;
  plan.gather = slots;
  plan.ranges = {{.begin = 0, .len = static_cast<int32_t>(slots.size()), .source = 1}};
  Item item;
  item.head_mask = (uint64_t{1} << c.spec.n_q) - 1;
  item.rows = c.spec.rows;
  item.ranges = 1;
  plan.items = {item};
  return plan;
}

// The first call leaves patterns in the gathered page that are NaN when read as another format.
TEST(ScratchReuse, a_short_gather_of_aliased_values_ignores_the_page_gathered_before) {
  for (Isa isa : tested_isas()) {
    for (Format format : {Format::kBf16, Format::kF16, Format::kF32}) {
      DenseSpec wide{.n_q = 2, .n_kv = 1, .dk = 64, .dv = 64};
      wide.rows = 4;
      DenseCase before(wide, isa);
      DenseSpec latent = wide;
      latent.k = latent.v = format;
      latent.alias = true;
      latent.dv = 32;
      DenseCase after(latent, isa);
      std::vector<int32_t> many(64);
      for (int i = 0; i < 64; ++i) many[static_cast<size_t>(i)] = i;
      const Plan first = gather_plan(before, many), second = gather_plan(after, {1, 7, 9, 30, 31});

      cpu::Team one(1);
      Workspace fresh(isa, 1);
      const std::vector<float> want = run_on(after, second, fresh, one);
      Workspace used(isa, 1);
      ASSERT_TRUE(used.reserve(first, before.call).is_ok());
      ASSERT_TRUE(used.reserve(second, after.call).is_ok());
      run_on(before, first, used, one);
      // Not every stale fp32 word is a NaN as bf16; the worst of them is all ones.
      const size_t bytes = static_cast<size_t>(64) * 64 * sizeof(float);
      std::fill_n(static_cast<uint8_t*>(used.impl().scratch[0].k), bytes, uint8_t{0xff});
      const std::vector<float> got = run_on(after, second, used, one);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i], want[i]) << isa_name(isa) << " " << format_name(format) << " at " << i;
      }
    }
  }
}

TEST(ScratchReuse, unit_kinds_and_team_sizes_may_alternate_on_one_workspace) {
  DenseSpec long_decode{.n_q = 4, .n_kv = 2, .dk = 32, .dv = 32};
  long_decode.history = 5000;
  long_decode.rows = 2;
  DenseSpec prompt{.n_q = 4, .n_kv = 2, .dk = 64, .dv = 48};
  prompt.history = 200;
  prompt.rows = 90;
  const Isa isa = tested_isas().back();
  DenseCase cases[] = {DenseCase(long_decode, isa), DenseCase(prompt, isa)};
  std::vector<float> want[2];
  Plan plans[2];
  for (int i = 0; i < 2; ++i) {
    want[i] = cases[i].run_dense(1, UnitKind::kItems);
    EXPECT_TRUE(plan_dense(cases[i].call, plans[i]).is_ok());
  }
  Workspace workspace(isa, 3);
  cpu::Team one(1), two(2), three(3);
  cpu::Team* teams[] = {&one, &two, &three};
  for (int round = 0; round < 60; ++round) {
    workspace.impl().units = random_bits(5, round) % 2 ? UnitKind::kSplits : UnitKind::kItems;
    cpu::Team& team = *teams[random_bits(6, round) % 3];
    const int which = static_cast<int>(random_bits(7, round) % 2);
    const auto got = run_on(cases[which], plans[which], workspace, team);
    ASSERT_EQ(got, want[which]) << "round " << round << ", team of " << team.size();
    ASSERT_EQ(counters(workspace).tiles, cases[which].last.tiles) << "round " << round;
  }
}

}  // namespace
}  // namespace heed::test
