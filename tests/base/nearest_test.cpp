#include "base/nearest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace heed {
namespace {

const std::vector<std::string> kNames = {"--temp", "--top-k", "--top-p", "--threads", "--predict"};

TEST(nearest_name, a_swap_an_extra_and_a_missing_letter_find_the_name) {
  EXPECT_EQ(nearest_name("--tmep", kNames), "--temp");
  EXPECT_EQ(nearest_name("--tempp", kNames), "--temp");
  EXPECT_EQ(nearest_name("--thread", kNames), "--threads");
}

TEST(nearest_name, a_beginning_finds_the_whole) {
  EXPECT_EQ(nearest_name("--pre", kNames), "--predict");
}

TEST(nearest_name, nothing_near_is_empty) {
  EXPECT_EQ(nearest_name("--zzzzzzzz", kNames), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'x'), kNames), "");
}

TEST(nearest_name, distance_is_symmetric_and_zero_only_for_equals) {
  for (const auto& a : kNames) {
    for (const auto& b : kNames) {
      EXPECT_EQ(edit_distance(a, b), edit_distance(b, a));
      EXPECT_EQ(edit_distance(a, b) == 0, a == b);
    }
  }
}

}  // namespace
}  // namespace heed
