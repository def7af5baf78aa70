// No read or write outside the operands: queries, outputs, log-sum-exps and every page of the store
// lie directly behind, then directly before, memory that faults when touched.
#include "attention_compare.h"
#include "guard_memory.h"
#include "isa_list.h"

namespace heed::test {
namespace {

class GuardPages : public ::testing::TestWithParam<GuardSide> {};

// Runs the problem with its buffers moved between guards; the result equals the unguarded run.
void check_guarded(const AttentionCase& c, GuardSide side) {
  SCOPED_TRACE(to_text(c));
  AttentionProblem plain(c);
  const Output expected = plain.run(1);
  AttentionProblem guarded(c, std::make_unique<GuardArenas>(side));
  const int64_t t = c.rows(), h = c.heads;
  GuardMemory q(sizeof(float) * t * h * c.dk, side);
  GuardMemory out(sizeof(float) * c.tags * t * h * c.dv, side);
  GuardMemory lse(sizeof(float) * c.tags * t * h, side);
  Call& call = guarded.call();
  for (int64_t i = 0; i < t; ++i) {
    for (int64_t j = 0; j < h; ++j) {
      std::memcpy(q.floats() + (i * h + j) * c.dk, &call.q(i, j, 0), sizeof(float) * c.dk);
    }
  }
  call.q = View<const float, 3>::contiguous(q.floats(), {t, h, c.dk});
  if (c.tags == 1) {
    call.out = View<float, 3>::contiguous(out.floats(), {t, h, c.dv});
    call.lse = View<float, 2>::contiguous(lse.floats(), {t, h});
  } else {
    call.part_out = View<float, 4>::contiguous(out.floats(), {c.tags, t, h, c.dv});
    call.part_lse = View<float, 3>::contiguous(lse.floats(), {c.tags, t, h});
  }
  guarded.run(2);
  ASSERT_EQ(std::memcmp(out.data(), expected.out.data(), sizeof(float) * expected.out.size()), 0);
  ASSERT_EQ(std::memcmp(lse.data(), expected.lse.data(), sizeof(float) * expected.lse.size()), 0);
}

TEST_P(GuardPages, nothing_outside_the_operands_is_touched) {
  uint64_t seed = 1;
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      for (const auto& [dk, dv] : {std::pair{2, 2}, {34, 6}, {64, 64}, {66, 130}, {80, 80}}) {
        for (int variant = 0; variant < 4; ++variant) {
          AttentionCase c;
          c.isa = isa;
          c.k = c.v = static_cast<Format>(f);
          c.heads = 3;
          c.dk = dk;
          c.dv = dv;
          c.seqs = {{1, 65}, {13, 129}, {7, 7}};
          c.seed = seed++;
          c.alibi = variant == 1;
          c.bias = c.live = variant == 1;
          if (variant == 2) c.plan = PlanKind::kMixed, c.tile_masks = true, c.tags = 2;
          if (variant == 3) c.alias = dv <= dk, c.mask = MaskKind::kNone, c.softcap = 10;
          check_guarded(c, GetParam());
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sides, GuardPages,
                         ::testing::Values(GuardSide::kBefore, GuardSide::kBehind),
                         [](const auto& info) { return side_name(info.param); });

// The guards work: without this the test above could not fail.
TEST(GuardPagesDeathTest, a_touched_guard_faults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        GuardMemory memory(10 * sizeof(float), GuardSide::kBehind);
        static_cast<volatile float*>(memory.floats())[10] = 1;
      },
      "");
  EXPECT_DEATH(
      {
        GuardMemory memory(10 * sizeof(float), GuardSide::kBefore);
        static_cast<volatile float*>(memory.floats())[-1] = 1;
      },
      "");
}

}  // namespace
}  // namespace heed::test
