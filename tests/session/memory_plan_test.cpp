// What a run would take: options out of range are refused, more tokens never take less.
#include <gtest/gtest.h>

#include <filesystem>

#include "heed/engine.h"
#include "memory_plan_suite.h"
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

TEST(MemoryPlan, a_file_that_is_read_and_not_mapped_counts_whole) {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorQ4_0;
  const tiny::TemporaryFile file(spec);
  ModelOptions read;
  read.map = false;
  const auto weights = [&](const ModelOptions& model) {
    return predict_memory(file.path(), model, {}, {.prompt = 10})->weights;
  };
  // Packed weights are copies; the file they came from stays.
  EXPECT_GE(weights(read), std::filesystem::file_size(file.path()));
  EXPECT_GT(weights(read), weights({}));
}

TEST(MemoryPlan, rotated_keys_and_angles_of_a_chunk_are_in_the_plan) {
  tiny::Spec spec;
  spec.kv_heads = 4;
  spec.dk = 64;
  const tiny::TemporaryFile file(spec);
  const auto compute = [&](int chunk) {
    EngineOptions engine;
    engine.chunk = chunk;
    engine.max_sequences = 1;
    return predict_memory(file.path(), {}, engine, {.prompt = 10})->compute;
  };
  // The graphs of both are those of 10 rows; a row of keys has 4 x 64 numbers.
  EXPECT_GE(compute(8192), compute(512) + (8192 - 512) * 4 * 64 * sizeof(float));
}

}  // namespace
}  // namespace heed
