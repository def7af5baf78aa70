#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace heed {
namespace {

TEST(Random, an_element_does_not_depend_on_the_order_of_draws) {
  Random sequential(7);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(sequential.bits(), random_bits(7, i));
}

TEST(Random, streams_differ) {
  int equal = 0;
  for (uint64_t i = 0; i < 1000; ++i) equal += random_bits(1, i) == random_bits(2, i);
  EXPECT_EQ(equal, 0);
}

TEST(Random, below_stays_in_range_and_reaches_every_value) {
  std::array<int, 7> counts{};
  for (uint64_t i = 0; i < 7000; ++i) ++counts.at(random_below(3, i, 7));
  // 1000 expected, standard deviation 29: five of them on each side.
  for (const int count : counts) EXPECT_NEAR(count, 1000, 147);
}

TEST(Random, normal_has_mean_zero_and_variance_one) {
  constexpr int kDraws = 20000;
  double sum = 0;
  double squares = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double x = random_normal(5, i);
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  // Five standard errors: 5/sqrt(n) of the mean, 5*sqrt(2/n) of the variance.
  EXPECT_NEAR(sum / kDraws, 0.0, 5.0 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 5.0 * std::sqrt(2.0 / kDraws));
}

}  // namespace
}  // namespace heed
