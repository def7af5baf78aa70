// What a run knows of its answers.
#include "cli/run_report.h"

#include <gtest/gtest.h>

namespace heed::cli {
namespace {

// Ctrl-C ends those that go on; the first may have ended by itself.
TEST(run_report, a_run_is_cancelled_when_one_of_its_answers_is) {
  RunResult result;
  result.others.resize(2);
  EXPECT_FALSE(result.cancelled());
  result.others[1].stop = StopReason::kCancelled;
  EXPECT_TRUE(result.cancelled());
  result.others.clear();
  EXPECT_FALSE(result.cancelled());
  result.generation.stop = StopReason::kCancelled;
  EXPECT_TRUE(result.cancelled());
}

}  // namespace
}  // namespace heed::cli
