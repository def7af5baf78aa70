// One workspace serves calls of different layers, formats, unit kinds and team sizes: nothing that
// a call leaves behind (scratch bytes, the unit counter, the barrier) reaches the next one.
#include <gtest/gtest.h>

#include <limits>

#include "attention_problem.h"
#include "isa_list.h"

namespace heed::test {
namespace {

// All query rows of the problem against single slots.
void gather(AttentionProblem& problem, const std::vector<int32_t>& slots) {
  Plan& plan = problem.plan();
  plan = {};
  plan.gather = slots;
  plan.ranges = {{.begin = 0, .len = static_cast<int32_t>(slots.size()), .source = 1}};
  Item item;
  item.head_mask = (uint64_t{1} << problem.problem().heads) - 1;
  item.rows = problem.problem().rows();
  item.ranges = 1;
  plan.items = {item};
}

// The first call leaves patterns in the gathered page that are NaN when read as another format.
TEST(ScratchReuse, a_short_gather_of_aliased_values_ignores_the_page_gathered_before) {
  for (Isa isa : tested_isas()) {
    for (Format format : {Format::kBf16, Format::kF16, Format::kF32}) {
      const AttentionCase wide{.isa = isa, .heads = 2, .kv_heads = 1, .seqs = {{4, 104}}};
      AttentionProblem before(wide);
      AttentionCase latent = wide;
      latent.k = latent.v = format;
      latent.alias = true;
      latent.dv = 32;
      AttentionProblem after(latent);
      std::vector<int32_t> many(64);
      for (int i = 0; i < 64; ++i) many[static_cast<size_t>(i)] = i;
      gather(before, many);
      gather(after, {1, 7, 9, 30, 31});

      cpu::Team one(1);
      Workspace fresh(isa, 1);
      const Output want = after.run(fresh, one, 1, UnitKind::kAuto);
      Workspace used(isa, 1);
      ASSERT_TRUE(used.reserve(before.plan(), before.call()).is_ok());
      ASSERT_TRUE(used.reserve(after.plan(), after.call()).is_ok());
      before.run(used, one, 1, UnitKind::kAuto);
      // Not every stale fp32 word is a NaN as bf16; the worst of them is all ones.
      const size_t bytes = static_cast<size_t>(64) * 64 * sizeof(float);
      std::fill_n(static_cast<uint8_t*>(used.impl().scratch[0].k), bytes, uint8_t{0xff});
      const Output got = after.run(used, one, 1, UnitKind::kAuto);
      ASSERT_EQ(got.out.size(), want.out.size());
      for (size_t i = 0; i < got.out.size(); ++i) {
        ASSERT_EQ(got.out[i], want.out[i])
            << isa_name(isa) << " " << format_name(format) << " at " << i;
      }
    }
  }
}

TEST(ScratchReuse, unit_kinds_and_team_sizes_may_alternate_on_one_workspace) {
  const Isa isa = tested_isas().back();
  AttentionProblem long_decode(
      {.isa = isa, .heads = 4, .kv_heads = 2, .dk = 32, .dv = 32, .seqs = {{2, 5002}}});
  AttentionProblem prompt({.isa = isa, .heads = 4, .kv_heads = 2, .dv = 48, .seqs = {{90, 290}}});
  AttentionProblem* const problems[] = {&long_decode, &prompt};
  Output want[2];
  uint64_t tiles[2];
  for (int i = 0; i < 2; ++i) {
    want[i] = problems[i]->run(1, UnitKind::kItems);
    tiles[i] = problems[i]->last_counters().tiles;
  }
  Workspace workspace(isa, 3);
  cpu::Team one(1), two(2), three(3);
  cpu::Team* teams[] = {&one, &two, &three};
  for (int round = 0; round < 60; ++round) {
    const UnitKind units = random_bits(5, round) % 2 ? UnitKind::kSplits : UnitKind::kItems;
    cpu::Team& team = *teams[random_bits(6, round) % 3];
    const int which = static_cast<int>(random_bits(7, round) % 2);
    const Output got = problems[which]->run(workspace, team, team.size(), units);
    ASSERT_EQ(got.out, want[which].out) << "round " << round << ", team of " << team.size();
    ASSERT_EQ(got.lse, want[which].lse) << "round " << round;
    ASSERT_EQ(counters(workspace).tiles, tiles[which]) << "round " << round;
  }
}

}  // namespace
}  // namespace heed::test
