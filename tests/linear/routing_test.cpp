// Which experts a row goes to, and which rows an expert gets.
#include "linear/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/random.h"
#include "linear/product.h"

namespace heed {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> shares;
};
Choice choose(const std::vector<float>& logits, size_t used, const RouterRule& rule = {},
              const float* bias = nullptr) {
  Choice c{std::vector<int32_t>(used, -1), std::vector<float>(used, -1)};
  choose_experts(rule, logits, bias, c.experts, c.shares);
  return c;
}

// softmax over all experts, of which the largest are taken and divided by their sum: the router of
// the mixture models, in fp64.
Choice softmax_then_normalise(const std::vector<float>& logits, size_t used) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  double all = 0, taken = 0;
  for (const float x : logits) all += std::exp(static_cast<double>(x));
  Choice c;
  for (size_t i = 0; i < used; ++i) {
    c.experts.push_back(order[i]);
    taken += std::exp(static_cast<double>(logits[static_cast<size_t>(order[i])])) / all;
  }
  for (const int32_t e : c.experts) {
    const double share = std::exp(static_cast<double>(logits[static_cast<size_t>(e)])) / all;
    c.shares.push_back(static_cast<float>(share / taken));
  }
  return c;
}

TEST(ChooseExperts, are_the_largest_with_the_softmax_over_all_normalised_over_them) {
  for (const size_t experts : {1u, 2u, 5u, 32u, 128u, 1024u}) {
    for (const size_t used : {size_t{1}, std::min<size_t>(4, experts), experts}) {
      std::vector<float> logits(experts);
      for (size_t e = 0; e < experts; ++e) {
        logits[e] = static_cast<float>(3 * random_normal(experts + used, e));
      }
      const Choice got = choose(logits, used), expected = softmax_then_normalise(logits, used);
      EXPECT_EQ(got.experts, expected.experts) << experts << " " << used;
      for (size_t i = 0; i < used; ++i) EXPECT_NEAR(got.shares[i], expected.shares[i], 1e-6);
    }
  }
}

// Any rule from its formula, in fp64: scores of all, groups by the sum of their two best, the best
// of what is left, the shares of those.
Choice chosen_by_formula(const std::vector<float>& logits, size_t used, const RouterRule& rule,
                         const float* bias) {
  const size_t n = logits.size(), size = n / static_cast<size_t>(rule.groups);
  std::vector<double> score(n), key(n);
  double all = 0;
  for (const float x : logits) all += std::exp(static_cast<double>(x));
  for (size_t e = 0; e < n; ++e) {
    const double x = std::exp(static_cast<double>(logits[e]));
    score[e] = rule.score == RouterScore::kSoftmax   ? x / all
               : rule.score == RouterScore::kSigmoid ? x / (1 + x)
                                                     : x;
    key[e] = (rule.score == RouterScore::kLogits ? static_cast<double>(logits[e]) : score[e]) +
             (bias != nullptr ? static_cast<double>(bias[e]) : 0);
  }
  const auto order_of = [](const std::vector<double>& values) {
    std::vector<int32_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
      return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
    });
    return order;
  };
  std::vector<double> of_group;
  for (size_t g = 0; g < n && rule.groups > 1; g += size) {
    std::vector<double> in(key.begin() + static_cast<std::ptrdiff_t>(g),
                           key.begin() + static_cast<std::ptrdiff_t>(g + size));
    std::ranges::sort(in, std::greater<>());
    of_group.push_back(in[0] + in[1]);
  }
  const std::vector<int32_t> groups = order_of(of_group);
  for (size_t i = static_cast<size_t>(rule.groups_used); i < groups.size(); ++i) {
    for (size_t e = 0; e < size; ++e) key[static_cast<size_t>(groups[i]) * size + e] = -kInf;
  }
  Choice c;
  double sum = 0;
  for (const int32_t e : order_of(key)) {
    if (c.experts.size() == used) break;
    c.experts.push_back(e);
    sum += score[static_cast<size_t>(e)];
  }
  const bool of_chosen = rule.score == RouterScore::kLogits;
  const double divisor = of_chosen ? sum : rule.normalised ? std::max(sum, 0x1p-14) : 1;
  for (const int32_t e : c.experts) {
    const double share = score[static_cast<size_t>(e)] / divisor * static_cast<double>(rule.scale);
    c.shares.push_back(static_cast<float>(share));
  }
  return c;
}

TEST(ChooseExperts, of_every_rule_are_those_of_its_formula) {
  int groups_matter = 0, bias_matters = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    RouterRule rule;
    constexpr RouterScore kScores[] = {RouterScore::kSoftmax, RouterScore::kSigmoid,
                                       RouterScore::kLogits};
    rule.score = kScores[seed % 3];
    rule.normalised = seed / 2 % 2 == 0;
    rule.scale = seed / 4 % 2 == 0 ? 1.0f : 2.5f;
    constexpr int kGroups[][2] = {{1, 1}, {8, 4}, {4, 1}, {2, 1}};
    rule.groups = kGroups[seed / 8 % 4][0];
    rule.groups_used = kGroups[seed / 8 % 4][1];
    const size_t experts = seed % 7 < 3 ? 64 : 16, used = 1 + seed % 4;
    std::vector<float> logits(experts), bias(experts);
    for (size_t e = 0; e < experts; ++e) {
      logits[e] = static_cast<float>(2 * random_normal(seed, e));
      bias[e] = static_cast<float>(0.2 * random_normal(seed + 1000, e));
    }
    const float* const added = seed % 5 < 3 ? bias.data() : nullptr;
    const Choice got = choose(logits, used, rule, added);
    const Choice expected = chosen_by_formula(logits, used, rule, added);
    ASSERT_EQ(got.experts, expected.experts) << seed;
    for (size_t i = 0; i < used; ++i) {
      EXPECT_NEAR(got.shares[i], expected.shares[i], 1e-6 * (1 + expected.shares[i])) << seed;
    }
    RouterRule whole = rule;
    whole.groups = whole.groups_used = 1;
    groups_matter += choose(logits, used, whole, added).experts != got.experts;
    bias_matters += choose(logits, used, rule, nullptr).experts != got.experts;
  }
  EXPECT_GT(groups_matter, 40);
  EXPECT_GT(bias_matters, 40);
}

// No chosen expert has a score to speak of: what they would be divided by is bounded.
TEST(ChooseExperts, shares_of_vanishing_scores_stay_small) {
  RouterRule rule;
  rule.score = RouterScore::kSigmoid;
  const Choice c = choose({-30, -200, -31}, 2, rule);
  EXPECT_EQ(c.experts, (std::vector<int32_t>{0, 2}));
  EXPECT_LT(c.shares[0], 1e-8f);
  EXPECT_GT(c.shares[0], c.shares[1]);
}

TEST(ChooseExperts, of_equals_the_first_are_chosen) {
  EXPECT_EQ(choose({1, 2, 2, 1, 2}, 3).experts, (std::vector<int32_t>{1, 2, 4}));
  EXPECT_EQ(choose({0, 0, 0, 0}, 2).experts, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(choose({-kInf, -kInf, 3}, 2).experts, (std::vector<int32_t>{2, 0}));
}

// Logits far apart and far from zero do not overflow.
TEST(ChooseExperts, shares_of_large_logits_are_finite) {
  const Choice c = choose({-3e38f, 3e38f, 1e30f, 3e38f}, 3);
  EXPECT_EQ(c.experts, (std::vector<int32_t>{1, 3, 2}));
  EXPECT_EQ(c.shares, (std::vector<float>{0.5f, 0.5f, 0.0f}));
  // Chosen first for its bias, and far from the largest logit.
  const float bias[] = {500, 0, 0};
  const Choice biased = choose({-200, 200, 1}, 2, {.score = RouterScore::kLogits}, bias);
  EXPECT_EQ(biased.experts, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(biased.shares, (std::vector<float>{0, 1}));
}

// Whatever the numbers, experts are different ones of the model; what is no number is seen.
TEST(ChooseExperts, a_nan_reaches_the_shares_and_no_expert_is_out_of_range) {
  for (const auto& logits : {std::vector<float>{1, kNan, 3, 2},
                             {kNan, kNan, kNan, kNan},
                             {kInf, 1, 2, 3},
                             {1, -kInf, kNan, kInf}}) {
    const Choice c = choose(logits, 2);
    EXPECT_EQ(std::set<int32_t>(c.experts.begin(), c.experts.end()).size(), 2u);
    for (const int32_t e : c.experts) EXPECT_TRUE(e >= 0 && e < 4) << e;
    for (const float share : c.shares) EXPECT_TRUE(std::isnan(share)) << share;
    for (const RouterScore score :
         {RouterScore::kSoftmax, RouterScore::kSigmoid, RouterScore::kLogits}) {
      const Choice grouped =
          choose(logits, 2, {.score = score, .normalised = false, .groups = 2, .groups_used = 1});
      EXPECT_EQ(grouped.experts[0] / 2, grouped.experts[1] / 2) << "of one group";
      EXPECT_NE(grouped.experts[0], grouped.experts[1]);
    }
  }
}

TEST(ExpertLists, hold_every_slot_once_under_its_expert_in_order) {
  for (const auto& [experts, slots] : std::vector<std::pair<int, int64_t>>{
           {1, 1}, {1, 9}, {4, 1}, {128, 8}, {128, 4096}, {7, 301}, {32, 4}, {3, 0}}) {
    const ExpertLists::Size size{experts, slots};
    std::vector<int32_t> chosen(static_cast<size_t>(slots));
    for (size_t s = 0; s < chosen.size(); ++s) {
      // Some experts get nothing.
      const auto e = static_cast<int32_t>(random_below(5, s, static_cast<uint64_t>(experts)));
      chosen[s] = e % 3 == 1 ? 0 : e;
    }
    constexpr int32_t kGuard = 0x5AFE;
    std::vector<int32_t> memory(static_cast<size_t>(ExpertLists::words(size)) + 1, kGuard);
    ExpertLists(memory.data(), size).make(chosen.data());
    EXPECT_EQ(memory.back(), kGuard);
    const ExpertLists lists(memory.data(), size);
    std::vector<bool> seen(static_cast<size_t>(slots));
    int64_t tiles = 0;
    for (int i = 0; i < lists.count(); ++i) {
      if (i > 0) {
        EXPECT_LT(lists.expert(i - 1), lists.expert(i));
      }
      EXPECT_EQ(lists.tile(i), tiles);
      const auto of_expert = lists.slots(i);
      ASSERT_FALSE(of_expert.empty());
      tiles += (static_cast<int64_t>(of_expert.size()) + kTileRows - 1) / kTileRows;
      EXPECT_TRUE(std::ranges::is_sorted(of_expert));
      for (const int32_t slot : of_expert) {
        EXPECT_EQ(chosen[static_cast<size_t>(slot)], lists.expert(i));
        EXPECT_FALSE(seen[static_cast<size_t>(slot)]);
        seen[static_cast<size_t>(slot)] = true;
      }
    }
    EXPECT_TRUE(std::ranges::all_of(seen, [](bool s) { return s; }));
    EXPECT_LE(tiles, ExpertLists::most_tiles(size));
  }
}

// The bound is reached: one slot in all lists but the last.
TEST(ExpertLists, most_tiles_is_no_more_than_needed) {
  const ExpertLists::Size size{4, 8};
  const std::vector<int32_t> chosen = {0, 1, 2, 3, 3, 3, 3, 3};
  std::vector<int32_t> memory(static_cast<size_t>(ExpertLists::words(size)));
  ExpertLists lists(memory.data(), size);
  lists.make(chosen.data());
  EXPECT_EQ(lists.tile(3) + 2, ExpertLists::most_tiles(size));
}

}  // namespace
}  // namespace heed
