// What a run would take: options out of range are refused, more tokens never take less.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "heed/engine.h"
#include "memory_plan_suite.h"
#include "tiny_adapter.h"
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

TEST(MemoryPlan, layer_major_order_takes_the_residual_of_every_token) {
  const tiny::TemporaryFile file(tiny::Spec{});
  constexpr PrefillOrder kOrder = PrefillOrder::kLayerMajor;
  const MemoryPlan one = plan_of(file.path(), 1, {.prompt = 1024}, kOrder);
  const MemoryPlan two = plan_of(file.path(), 1, {.prompt = 2048}, kOrder);
  EXPECT_EQ(one.order, kOrder);
  EXPECT_EQ(one.peak, one.layer_major_peak);
  EXPECT_GT(one.peak, one.token_major_peak);
  EXPECT_EQ(plan_of(file.path(), 1, {.prompt = 1024}).order, PrefillOrder::kTokenMajor);
  // Numbers of a row: a residual of 64, angles of 8 pairs.
  const uint64_t row = (64 + 2 * 8) * sizeof(float);
  const uint64_t workspace = plan_of(file.path(), 1, {.prompt = 2048}).compute -
                             plan_of(file.path(), 1, {.prompt = 1024}).compute;
  EXPECT_EQ(two.compute - one.compute, 1024 * row + workspace);
  EXPECT_EQ(two.kv, plan_of(file.path(), 1, {.prompt = 2048}).kv);
}

#ifdef HEED_TEST_RESIDENT_MEMORY
using test::RealMemoryPlan;
INSTANTIATE_TEST_SUITE_P(Smallest, RealMemoryPlan, testing::Values("smollm2:135m"));

// Wide and shallow: the residual of the prompt, 48 MiB, is most of what the orders differ by.
TEST(MemoryPlan, what_layer_major_order_takes_more_is_what_is_predicted) {
  tiny::Spec spec;
  spec.embd = 2048;
  spec.ff = 64;
  spec.context = 8192;
  const tiny::TemporaryFile file(spec);
  constexpr PlannedRun kLong{.prompt = 6144, .answer = 24};
  double measured[2], predicted[2];
  constexpr PrefillOrder kBoth[] = {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor};
  for (int i = 0; i < 2; ++i) {
    measured[i] = test::measured_peak(file.path(), kBoth[i], kLong.prompt);
    predicted[i] = static_cast<double>(test::plan_of(file.path(), 1, kLong, kBoth[i]).peak);
  }
  const double more = measured[1] - measured[0];
  RecordProperty("measured_mib", std::to_string(more / (1 << 20)));
  EXPECT_GT(more, 40 << 20);
  EXPECT_LE(std::abs(predicted[1] - predicted[0] - more), 0.1 * more)
      << "predicted " << (predicted[1] - predicted[0]) / (1 << 20) << " MiB, measured "
      << more / (1 << 20);
}

// Factors and what their nodes work in, in either order.
TEST(MemoryPlan, what_adapters_take_more_is_what_is_predicted) {
  tiny::Spec spec;
  spec.embd = 512;
  spec.ff = 2048;
  spec.context = 2048;
  spec.weight_type = tiny::kTensorQ4_0;
  const tiny::TemporaryFile file(spec);
  const tiny::TemporaryFile lora(tiny::make_adapter(spec, {.rank = 256}));
  const tiny::TemporaryFile control(tiny::make_control(spec, tiny::directions(spec, 1)));
  const std::string loras[] = {lora.path()};
  PlannedRun plain = test::kRun, adapted = test::kRun;
  adapted.loras = loras;
  adapted.control_vector = true;
  for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
    const double measured =
        test::measured_peak(file.path(), order, plain.prompt, lora.path(), control.path()) -
        test::measured_peak(file.path(), order, plain.prompt);
    const double predicted = static_cast<double>(plan_of(file.path(), 1, adapted, order).peak) -
                             static_cast<double>(plan_of(file.path(), 1, plain, order).peak);
    RecordProperty("measured_mib", std::to_string(measured / (1 << 20)));
    EXPECT_GT(measured, 15 << 20);
    EXPECT_LE(std::abs(predicted - measured), 0.1 * measured)
        << prefill_order_name(order) << ": predicted " << predicted / (1 << 20) << " MiB, measured "
        << measured / (1 << 20);
  }
}
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
