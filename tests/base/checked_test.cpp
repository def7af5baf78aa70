#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "base/random.h"

namespace heed {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(Checked, overflow_is_an_error_that_names_both_operands) {
  const auto product = checked_mul<uint64_t>(kMax, 2, "tensor size");
  EXPECT_EQ(product.code(), Code::kOutOfRange);
  EXPECT_EQ(product.message(), "tensor size: 18446744073709551615 x 2 overflows");
  EXPECT_EQ(checked_add<uint64_t>(kMax, 1, "offset").code(), Code::kOutOfRange);
  EXPECT_EQ(checked_mul<int32_t>(-1, std::numeric_limits<int32_t>::min(), "n").code(),
            Code::kOutOfRange);
}

TEST(Checked, agrees_with_wide_arithmetic) {
  Random random(1);
  int overflows = 0;
  for (int i = 0; i < 2000; ++i) {
    // Shifts spread the magnitudes, so that both outcomes occur often.
    const uint64_t a = random.bits() >> random.below(64);
    const uint64_t b = random.bits() >> random.below(64);
    const auto wide = static_cast<unsigned __int128>(a) * b;
    const auto product = checked_mul(a, b, "n");
    ASSERT_EQ(product.is_ok(), wide <= kMax) << a << " x " << b;
    if (product.is_ok()) {
      ASSERT_EQ(*product, static_cast<uint64_t>(wide));
    } else {
      ++overflows;
    }
  }
  EXPECT_GT(overflows, 200);
  EXPECT_LT(overflows, 1800);
}

}  // namespace
}  // namespace heed
