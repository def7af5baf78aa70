// Picks equal the sorted reference: on ties, infinities, NaN, forced sets, every crossing rule and
// base; they stay inside their memory and do not allocate.
#include "counting_heap.h"
#include "guard_memory.h"
#include "select/reference.h"
#include "select_problem.h"

namespace heed::test {
namespace {

using namespace heed::select;

constexpr float kInf = std::numeric_limits<float>::infinity();

// Few distinct values where `levels` is small; some of them special.
std::vector<float> random_scores(Random& random, int n, uint64_t levels, bool special) {
  std::vector<float> scores(n);
  for (float& x : scores) {
    x = levels == 0 ? static_cast<float>(std::exp(8 * random.normal() - 6))
                    : static_cast<float>(random.below(levels)) / 64;
    if (special && random.below(12) == 0) {
      const float strange[] = {kInf, -kInf, NAN, -0.0f, 0.0f, -1.5f, 1e-44f, 3e38f};
      x = strange[random.below(8)];
    }
  }
  return scores;
}

std::vector<int32_t> random_forced(Random& random, int n) {
  std::vector<int32_t> forced;
  const uint64_t one_of = 1 + random.below(40);
  for (int i = 0; i < n && one_of > 2; ++i) {
    if (random.below(one_of) == 0) forced.push_back(i);
  }
  return forced;
}

// What a pick writes, its memory between guards that lie directly behind.
template <class Pick>
std::vector<int32_t> guarded(std::span<const float> scores, Pick pick) {
  const auto n = static_cast<int64_t>(scores.size());
  GuardMemory in(sizeof(float) * n, GuardSide::kBehind);
  GuardMemory out(sizeof(int32_t) * n, GuardSide::kBehind);
  GuardMemory scratch(pick_bytes(n), GuardSide::kBehind);
  std::copy(scores.begin(), scores.end(), in.floats());
  std::fill_n(static_cast<uint8_t*>(scratch.data()), pick_bytes(n), uint8_t{0xff});
  auto* kept = static_cast<int32_t*>(out.data());
  const int64_t before = allocations;
  const int32_t count =
      pick(std::span<const float>(in.floats(), scores.size()), scratch.data(), kept);
  EXPECT_EQ(allocations, before);
  return {kept, kept + count};
}

constexpr int kSizes[] = {1, 2, 63, 64, 65, 300, 5000};

TEST(Pick, top_k_equals_sorting) {
  Random random(1);
  for (int n : kSizes) {
    for (int trial = 0; trial < 24; ++trial) {
      const auto scores =
          random_scores(random, n, trial % 3 == 0 ? 0 : 1 + random.below(30), trial % 2);
      const auto forced = random_forced(random, n);
      const auto k = static_cast<int64_t>(random.below(n + 3));
      EXPECT_EQ(
          guarded(scores, [&](auto s, void* m, int32_t* o) { return top_k(s, k, forced, m, o); }),
          reference::top_k(scores, k, forced))
          << "n " << n << " k " << k << " trial " << trial;
    }
  }
}

TEST(Pick, top_p_equals_sorting_and_adding_up_for_every_rule_and_base) {
  Random random(2);
  for (int n : kSizes) {
    for (int trial = 0; trial < 90; ++trial) {
      const auto scores =
          random_scores(random, n, trial % 5 < 2 ? 0 : 1 + random.below(30), trial % 4 == 1);
      const auto forced = random_forced(random, n);
      TopP rule;
      rule.cross = static_cast<Cross>(trial % 3);
      rule.base = static_cast<Base>(trial / 3 % 3);
      rule.p = static_cast<float>(random.uniform() * 1.05);
      if (trial % 10 == 0) rule.p = 0;
      rule.rows = 1 + static_cast<int32_t>(random.below(4));
      if (rule.base == Base::kAbsolute) rule.p = std::min(1.0f, rule.p) * (trial % 2 ? 1.0f : 0.1f);
      rule.min_keep = random.below(3) == 0 ? static_cast<int32_t>(random.below(n + 2)) : 0;
      rule.forced_first = random.below(2) == 0;
      EXPECT_EQ(guarded(scores,
                        [&](auto s, void* m, int32_t* o) { return top_p(s, rule, forced, m, o); }),
                reference::top_p(scores, rule, forced))
          << "n " << n << " trial " << trial << " p " << rule.p;
    }
  }
}

TEST(Pick, threshold_equals_comparing) {
  Random random(3);
  for (int n : kSizes) {
    const auto scores = random_scores(random, n, 20, true);
    const auto forced = random_forced(random, n);
    for (float theta : {-kInf, 0.0f, 0.125f, 0.2f, kInf}) {
      EXPECT_EQ(guarded(scores,
                        [&](auto s, void*, int32_t* o) { return threshold(s, theta, forced, o); }),
                reference::threshold(scores, theta, forced));
    }
  }
}

std::vector<int32_t> pick_p(std::vector<float> scores, TopP rule,
                            std::vector<int32_t> forced = {}) {
  return guarded(scores, [&](auto s, void* m, int32_t* o) { return top_p(s, rule, forced, m, o); });
}

// Sums of these are exact, so the budget is met exactly.
TEST(Pick, crossing_rules_differ_by_the_element_that_crosses) {
  const std::vector<float> scores = {0.125f, 0.5f, 0.25f, 0.125f};
  using Kept = std::vector<int32_t>;
  EXPECT_EQ(pick_p(scores, {.p = 0.75f, .cross = Cross::kExclude}), (Kept{1, 2}));
  EXPECT_EQ(pick_p(scores, {.p = 0.75f, .cross = Cross::kInclude}), (Kept{0, 1, 2}));
  EXPECT_EQ(pick_p(scores, {.p = 0.75f, .cross = Cross::kBefore}), (Kept{1, 2}));
  EXPECT_EQ(pick_p(scores, {.p = 0.6f, .cross = Cross::kExclude}), (Kept{1}));
  EXPECT_EQ(pick_p(scores, {.p = 0.6f, .cross = Cross::kInclude}), (Kept{1, 2}));
  EXPECT_EQ(pick_p(scores, {.p = 0.6f, .cross = Cross::kBefore}), (Kept{1, 2}));
  EXPECT_EQ(pick_p(scores, {.p = 0.1f, .cross = Cross::kExclude, .min_keep = 1}), (Kept{1}));
  // The forced ones open the sum (0.25, over the budget of 0.2: nothing follows), or they do not.
  const TopP before{.p = 0.2f, .cross = Cross::kBefore, .forced_first = true};
  EXPECT_EQ(pick_p(scores, before, {0, 3}), (Kept{0, 3}));
  TopP joined = before;
  joined.forced_first = false;
  EXPECT_EQ(pick_p(scores, joined, {0, 3}), (Kept{0, 1, 3}));
}

TEST(Pick, p_above_one_keeps_every_candidate_and_one_need_not) {
  std::vector<float> scores(4096, 1e-9f);
  scores[0] = 1.0f;
  for (Cross cross : {Cross::kExclude, Cross::kInclude, Cross::kBefore}) {
    EXPECT_EQ(pick_p(scores, {.p = 1.01f, .cross = cross}).size(), scores.size());
  }
  // 1 is reached in fp32 by the first.
  EXPECT_LT(pick_p(scores, {.p = 1.0f, .cross = Cross::kBefore, .base = Base::kAbsolute}).size(),
            scores.size());
}

TEST(Pick, nothing_to_pick_from_is_nothing) {
  EXPECT_TRUE(pick_p({}, {}).empty());
  EXPECT_TRUE(pick_p({NAN, -kInf}, {.p = 2}).empty());
  EXPECT_EQ(pick_p({NAN, -kInf}, {.p = 2}, {0}), (std::vector<int32_t>{0}));
}

}  // namespace
}  // namespace heed::test
