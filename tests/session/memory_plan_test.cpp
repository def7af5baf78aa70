// What a run would take: options out of range are refused, more tokens never take less.
#include <gtest/gtest.h>

#include "heed/engine.h"
#include "session/available_memory.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

TEST(MemoryPlan, options_out_of_range_are_refused) {
  const tiny::TemporaryFile file(tiny::Spec{});
  EngineOptions engine;
  ASSERT_TRUE(predict_memory(file.path(), {}, engine, 100).is_ok());
  engine.context = -1;
  EXPECT_EQ(predict_memory(file.path(), {}, engine, 100).code(), Code::kOutOfRange);
  engine = {};
  engine.chunk = 8193;
  EXPECT_EQ(predict_memory(file.path(), {}, engine, 100).code(), Code::kOutOfRange);
}

TEST(MemoryPlan, peak_holds_its_parts_and_grows_with_the_tokens) {
  const tiny::TemporaryFile file(tiny::Spec{});
  uint64_t before = 0;
  for (const int64_t tokens : {1, 64, 65, 512}) {
    const auto plan = predict_memory(file.path(), {}, {}, tokens);
    ASSERT_TRUE(plan.is_ok()) << plan.message();
    EXPECT_GE(plan->peak, plan->weights + plan->kv + plan->compute);
    EXPECT_GE(plan->peak, before);
    EXPECT_LE(plan->longest_prompt, 512);
    before = plan->peak;
  }
}

TEST(AvailableMemory, is_below_the_total_and_unknown_keys_are_nothing) {
  const auto total = meminfo("MemTotal");
  const auto available = available_memory();
  ASSERT_TRUE(total && available);
  EXPECT_GT(*available, 0u);
  EXPECT_LE(*available, *total);
  EXPECT_FALSE(meminfo("NoSuchKey"));
}

}  // namespace
}  // namespace heed
