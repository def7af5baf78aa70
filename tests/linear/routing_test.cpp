// Which experts a row goes to, and which rows an expert gets.
#include "linear/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
Choice choose(const std::vector<float>& logits, size_t used) {
  Choice c{std::vector<int32_t>(used, -1), std::vector<float>(used, -1)};
  choose_experts(logits, c.experts, c.shares);
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
