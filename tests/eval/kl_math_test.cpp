// KL and order statistics against their definitions, written out in long double.
#include "eval/kl_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "eval/statistics.h"

namespace heed::eval {
namespace {

std::vector<float> random_logits(uint64_t stream, int n, double scale) {
  std::vector<float> logits(static_cast<size_t>(n));
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(scale * random_normal(stream, i));
  }
  return logits;
}

std::vector<long double> softmax(const std::vector<float>& logits) {
  std::vector<long double> p;
  long double sum = 0;
  for (const float logit : logits) p.push_back(std::exp(static_cast<long double>(logit)));
  for (const long double e : p) sum += e;
  for (long double& e : p) e /= sum;
  return p;
}

RowComparison compare(const std::vector<float>& a, const std::vector<float>& b) {
  return compare_rows(a, row_softmax(a), b, row_softmax(b));
}

TEST(KlMath, kl_equals_the_definition) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const int n = 2 + static_cast<int>(random_below(99, seed, 400));
    const double scale = 0.5 + 5 * random_uniform(98, seed);
    const auto a = random_logits(2 * seed, n, scale), b = random_logits(2 * seed + 1, n, scale);
    const auto p = softmax(a), q = softmax(b);
    long double kl = 0;
    for (size_t i = 0; i < p.size(); ++i) kl += p[i] * std::log(p[i] / q[i]);
    ASSERT_NEAR(compare(a, b).kl, static_cast<double>(kl), 1e-13 * (1 + static_cast<double>(kl)));
  }
}

TEST(KlMath, a_shift_of_all_logits_changes_nothing) {
  const auto a = random_logits(1, 300, 3), b = random_logits(2, 300, 3);
  auto shifted = b;
  for (float& logit : shifted) logit += 64.0f;  // exact enough in fp32 for 1e-5
  EXPECT_NEAR(compare(a, shifted).kl, compare(a, b).kl, 1e-5);
}

TEST(KlMath, equal_rows_give_exactly_zero) {
  const auto a = random_logits(3, 1000, 8);
  const RowComparison row = compare(a, a);
  EXPECT_EQ(row.kl, 0.0);
  EXPECT_EQ(row.max_abs_dlogit, 0.0);
  EXPECT_TRUE(row.same_top);
}

TEST(KlMath, tiny_differences_are_resolved_and_never_negative) {
  const auto a = random_logits(4, 500, 2);
  for (int i = 0; i < 200; ++i) {
    auto b = a;
    for (size_t t = 0; t < b.size(); ++t) {
      b[t] += 1e-6f * static_cast<float>(random_normal(1000 + static_cast<uint64_t>(i), t));
    }
    const double kl = compare(a, b).kl;
    ASSERT_GE(kl, 0.0);
    ASSERT_LT(kl, 1e-11);
  }
}

TEST(KlMath, a_token_that_is_impossible_in_both_counts_nothing) {
  std::vector<float> a{1, 2, 3}, b{1, 2.5f, 3};
  const double kl = compare(a, b).kl;
  const float never = -std::numeric_limits<float>::infinity();
  a.push_back(never), b.push_back(never);
  EXPECT_DOUBLE_EQ(compare(a, b).kl, kl);
  EXPECT_FLOAT_EQ(compare(a, b).max_abs_dlogit, 0.5f);
}

TEST(KlMath, logits_that_are_not_numbers_stay_visible) {
  const std::vector<float> a{1, std::nanf(""), 3}, b{1, 2, 3};
  EXPECT_TRUE(std::isnan(compare(a, b).kl));
}

TEST(KlMath, the_gap_of_a_top_difference_is_in_the_first_engine) {
  const std::vector<float> a{5.0f, 4.75f, 0}, b{4.0f, 4.5f, 0};
  const RowComparison row = compare(a, b);
  EXPECT_FALSE(row.same_top);
  EXPECT_DOUBLE_EQ(row.gap, 0.25);
  EXPECT_DOUBLE_EQ(row.max_abs_dlogit, 1.0);
  EXPECT_LE(row.gap, 2 * row.max_abs_dlogit);
}

TEST(KlMath, pairs_sum_up_positions) {
  PairStats stats;
  for (int i = 1; i <= 10; ++i) {
    stats.add(
        {.kl = 0.1 * i, .max_abs_dlogit = 1.0 / i, .same_top = i != 3, .gap = i == 3 ? 7.0 : 0.0});
  }
  EXPECT_EQ(stats.tokens(), 10);
  EXPECT_NEAR(stats.mean_kl(), 0.55, 1e-12);
  EXPECT_NEAR(stats.max_kl(), 1.0, 1e-12);
  EXPECT_NEAR(stats.kl_percentile(0.5), 0.55, 1e-12);
  EXPECT_NEAR(stats.top1_agreement(), 0.9, 1e-12);
  EXPECT_EQ(stats.max_abs_dlogit(), 1.0);
  EXPECT_EQ(stats.top1_gaps(), std::vector<double>{7});
}

TEST(Statistics, quantiles_are_linear_between_neighbours) {
  const std::vector<double> values{4, 1, 3, 2, 5};
  EXPECT_DOUBLE_EQ(quantile(values, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(values, 0.1), 1.4);
  EXPECT_DOUBLE_EQ(median(values), 3);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 4.6);
  EXPECT_DOUBLE_EQ(quantile(values, 1), 5);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.1), 7);
  EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
}

}  // namespace
}  // namespace heed::eval
