// `run` neither allocates nor fails; what prepares it answers a shortage of memory with a Status
// and leaves what ran before runnable.
#include "counting_heap.h"

#include <cstring>
#include <functional>

#include "attention_problem.h"
#include "isa_list.h"

namespace heed::test {
namespace {

// Every branch of run that could want memory: gathered slots, tags, rotation, score rules, aliased
// values, groups beyond a mask word, decode and prompt.
std::vector<AttentionCase> cases(Isa isa) {
  AttentionCase base;
  base.isa = isa;
  base.heads = 6;
  base.kv_heads = 2;
  base.dk = base.dv = 64;
  base.k = base.v = Format::kBf16;
  base.seqs = {{41, 300}, {1, 2100}};
  std::vector<AttentionCase> all(7, base);
  all[1].plan = PlanKind::kMixed;
  all[1].tile_masks = all[1].live = all[1].gaps = true;
  all[1].tags = 3;
  all[2].rotary = RotaryLayout::kHalves;
  all[2].n_rot = 64;
  all[2].deltas = 2;
  all[2].plan = PlanKind::kRanges;
  all[3].softcap = 30;
  all[3].alibi = all[3].bias = all[3].sinks = true;
  all[3].k = all[3].v = Format::kF16;
  all[4].alias = true;
  all[4].dv = 32;
  all[4].plan = PlanKind::kGather;
  all[5].heads = 140;
  all[5].k = all[5].v = Format::kF32;
  all[6].mask = MaskKind::kWindow;
  all[6].window = 100;
  for (size_t i = 0; i < all.size(); ++i) all[i].seed = 70 + i;
  return all;
}

TEST(Shortage, run_allocates_nothing) {
  for (Isa isa : tested_isas()) {
    for (int threads : {1, 3}) {
      cpu::Team team(threads);
      for (const AttentionCase& c : cases(isa)) {
        SCOPED_TRACE(to_text(c));
        AttentionProblem problem(c);
        for (UnitKind units : {UnitKind::kAuto, UnitKind::kItems, UnitKind::kSplits}) {
          Workspace workspace(isa, threads);
          workspace.impl().units = units;
          const Plan& plan = problem.plan();
          const Call& call = problem.call();
          const int64_t at_first = allocations;
          ASSERT_TRUE(workspace.reserve(plan, call).is_ok());
          EXPECT_GE(allocations - at_first, threads) << "nothing is counted";
          const std::function<void(int, int)> body = [&](int member, int members) {
            run(plan, call, workspace, member, members);
          };
          const int64_t before = allocations;
          team.run(body);
          EXPECT_EQ(allocations, before);
          EXPECT_GT(counters(workspace).tiles, 0u);
        }
      }
    }
  }
}

TEST(Shortage, the_second_plan_and_reservation_of_a_call_allocate_nothing) {
  for (const AttentionCase& c : cases(tested_isas().back())) {
    if (c.plan != PlanKind::kDense) continue;
    AttentionProblem problem(c);
    Workspace workspace(c.isa, 2);
    Plan plan;
    const int64_t at_first = allocations;
    ASSERT_TRUE(plan_dense(problem.call(), plan).is_ok());
    ASSERT_TRUE(workspace.reserve(plan, problem.call()).is_ok());
    EXPECT_GT(allocations, at_first) << "nothing is counted";
    const size_t items = plan.items.size();
    const int64_t before = allocations;
    plan.clear();
    const Status planned = plan_dense(problem.call(), plan);
    const Status reserved = workspace.reserve(plan, problem.call());
    EXPECT_EQ(allocations, before) << to_text(c);
    EXPECT_TRUE(planned.is_ok() && reserved.is_ok());
    EXPECT_EQ(plan.items.size(), items);
  }
}

// A small problem that has run on a workspace, and must do so again after each failure.
class Served {
 public:
  explicit Served(Isa isa) : problem_(small(isa)), expected_(problem_.run(1)) {}

  AttentionProblem& problem() { return problem_; }
  void reserve(Workspace& workspace) {
    ASSERT_TRUE(workspace.reserve(problem_.plan(), problem_.call()).is_ok());
  }
  // Without a new reservation.
  void expect_runs(Workspace& workspace) {
    const Status valid = validate(problem_.plan(), problem_.call(), workspace);
    ASSERT_TRUE(valid.is_ok()) << valid.message();
    const View<float, 3> out = problem_.call().out;
    std::fill_n(out.data, expected_.out.size(), -1.0f);
    run(problem_.plan(), problem_.call(), workspace, 0, 1);
    EXPECT_EQ(std::memcmp(out.data, expected_.out.data(), expected_.out.size() * sizeof(float)), 0);
  }

 private:
  static AttentionCase small(Isa isa) {
    AttentionCase c;
    c.isa = isa;
    c.heads = 2;
    c.dk = c.dv = 32;
    c.seqs = {{3, 1100}};
    return c;
  }
  AttentionProblem problem_;
  Output expected_;
};

// Repeats `operation` with the 1st, 2nd ... allocation failing (`lasting`: and all behind it) until
// it succeeds; returns the number of failures.
int fail_each(bool lasting, const std::function<Status()>& operation,
              const std::function<void()>& after_failure) {
  for (int n = 0; n < 1000; ++n) {
    shortage_lasts = lasting;
    allocations_left = n;
    const Status status = operation();
    const bool fired = lasting ? allocations_left == 0 : allocations_left < 0;
    allocations_left = -1;
    shortage_lasts = false;
    if (status.is_ok()) {
      EXPECT_FALSE(fired && !lasting) << "allocation " << n << " failed unnoticed";
      return n;
    }
    EXPECT_TRUE(fired) << status.message();
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    after_failure();
    if (::testing::Test::HasFatalFailure()) return n;
  }
  ADD_FAILURE() << "never succeeds";
  return 0;
}

TEST(Shortage, a_failed_reservation_leaves_the_old_one) {
  for (bool lasting : {false, true}) {
    for (UnitKind units : {UnitKind::kItems, UnitKind::kSplits}) {
      const Isa isa = tested_isas().back();
      Served served(isa);
      AttentionCase large = cases(isa)[0];
      AttentionProblem problem(large);
      Workspace workspace(isa, 3);
      workspace.impl().units = units;
      ASSERT_NO_FATAL_FAILURE(served.reserve(workspace));
      const int failures = fail_each(
          lasting, [&] { return workspace.reserve(problem.plan(), problem.call()); },
          [&] { served.expect_runs(workspace); });
      EXPECT_GE(failures, units == UnitKind::kSplits ? 4 : 3);  // threads, and partial results
      ASSERT_TRUE(validate(problem.plan(), problem.call(), workspace).is_ok());
      served.expect_runs(workspace);

      Workspace bounds(isa, 3);
      ASSERT_NO_FATAL_FAILURE(served.reserve(bounds));
      EXPECT_GE(fail_each(
                    lasting, [&] { return bounds.reserve(64, 6, 2, 64, 64, 4096); },
                    [&] { served.expect_runs(bounds); }),
                4);
    }
  }
}

TEST(Shortage, a_failed_plan_leaves_the_old_one) {
  for (bool lasting : {false, true}) {
    const Isa isa = tested_isas().back();
    Served served(isa);
    Workspace workspace(isa, 1);
    ASSERT_NO_FATAL_FAILURE(served.reserve(workspace));
    AttentionProblem other(cases(isa)[0]);
    Plan& plan = served.problem().plan();
    plan.items.shrink_to_fit();
    plan.ranges.shrink_to_fit();
    const size_t items = plan.items.size(), ranges = plan.ranges.size();
    const int failures = fail_each(
        lasting, [&] { return plan_dense(other.call(), plan); },
        [&] {
          ASSERT_EQ(plan.items.size(), items);
          ASSERT_EQ(plan.ranges.size(), ranges);
          served.expect_runs(workspace);
        });
    EXPECT_GE(failures, 2);  // items, ranges
    EXPECT_GT(plan.items.size(), items);
  }
}

}  // namespace
}  // namespace heed::test
