// What a run would take: options out of range are refused, more tokens never take less.
#include <gtest/gtest.h>

#include "heed/engine.h"
#include "memory_plan_suite.h"
#include "session/available_memory.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::plan_of;

TEST(MemoryPlan, options_out_of_range_are_refused) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto code = [&](const EngineOptions& engine, const PlannedRun& run) {
    return predict_memory(file.path(), {}, engine, run).code();
  };
  ASSERT_EQ(code({}, {.prompt = 100}), Code::kOk);
  EngineOptions context, chunk, sequences;
  context.context = -1;
  chunk.chunk = 8193;
  sequences.max_sequences = 0;
  for (const EngineOptions& wrong : {context, chunk, sequences}) {
    EXPECT_EQ(code(wrong, {.prompt = 100}), Code::kOutOfRange);
  }
  EXPECT_EQ(code({}, {.prompt = -1}), Code::kOutOfRange);
  EXPECT_EQ(code({}, {.prompt = INT64_MAX}), Code::kOutOfRange);
  EXPECT_EQ(code({}, {.answer = -1}), Code::kOutOfRange);
  EXPECT_EQ(code({}, {.answer = INT64_MAX}), Code::kOutOfRange);
}

TEST(MemoryPlan, peak_holds_its_parts_and_grows_with_the_run) {
  const tiny::TemporaryFile file(tiny::Spec{});
  uint64_t before = 0;
  for (const int64_t tokens : {1, 64, 65, 512}) {
    const MemoryPlan plan = plan_of(file.path(), 1, {.prompt = tokens});
    EXPECT_GE(plan.peak, plan.weights + plan.kv + plan.compute);
    EXPECT_GE(plan.peak, before);
    EXPECT_LE(plan.longest_prompt, 512);
    before = plan.peak;
  }
  const MemoryPlan one = plan_of(file.path(), 1, {.prompt = 100});
  EXPECT_GT(plan_of(file.path(), 1, {.prompt = 100, .answer = 200}).kv, one.kv);
  EXPECT_GT(plan_of(file.path(), 1, {.prompt = 100, .all_logits = true}).compute, one.compute);
  EXPECT_GT(plan_of(file.path(), 8, {.prompt = 100}).compute, one.compute);
}

TEST(MemoryPlan, the_longest_prompt_leaves_room_for_the_answer) {
  const tiny::TemporaryFile file(tiny::Spec{});
  EXPECT_EQ(plan_of(file.path(), 1, {.prompt = 10}).longest_prompt, 512);
  EXPECT_EQ(plan_of(file.path(), 1, {.prompt = 10, .answer = 100}).longest_prompt, 412);
  EXPECT_EQ(plan_of(file.path(), 1, {.prompt = 10, .answer = 600}).longest_prompt, 0);
}

#ifdef HEED_TEST_RESIDENT_MEMORY
using test::RealMemoryPlan;
INSTANTIATE_TEST_SUITE_P(Smallest, RealMemoryPlan, testing::Values("smollm2:135m"));
#endif

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
