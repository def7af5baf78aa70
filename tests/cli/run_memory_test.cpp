// heed run refuses what does not fit before a weight is read, with the longest prompt that does.
#include "cli/run_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/verb.h"
#include "eval/llama_memory.h"
#include "least_memory.h"
#include "session/available_memory.h"
#include "tiny_gguf.h"

namespace heed::cli {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Keys and values of 1 KiB a token, so that they and not the graphs decide.
tiny::Spec wide_spec() {
  return {.arch = "llama",
          .layers = 4,
          .embd = 128,
          .heads = 4,
          .kv_heads = 4,
          .dk = 32,
          .vocab = 300,
          .context = 65536,
          .text_vocabulary = true};
}

RunOptions options_of(int64_t predict) {
  RunOptions options;
  options.raw = true;
  options.quiet = true;
  options.threads = 1;
  options.predict = predict;
  options.engine.context = 65536;
  options.engine.k = options.engine.v = Format::kF32;
  return options;
}

int64_t number_behind(const std::string& text, const std::string& words) {
  const size_t at = text.find(words);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + words.size());
}

// "a;a;..." is one token a byte in the tiny vocabulary.
std::string text_of(int64_t tokens) {
  std::string text;
  for (int64_t i = 0; i < tokens; ++i) text += i % 2 == 0 ? 'a' : ';';
  return text;
}

// Else the two engines of --compare would turn their keys by different lists of factors.
TEST(run_memory, llama_cpps_context_is_on_the_same_side_of_longropes_switch) {
  RunOptions options = options_of(10);
  EXPECT_EQ(llama_for_run(options, 100, 1).context, 111);
  options.rope_context = 4096;
  EXPECT_EQ(llama_for_run(options, 100, 1).context, 4097);
  EXPECT_EQ(llama_for_run(options, 5000, 1).context, 5011);
  options.engine.context = 4096;
  EXPECT_EQ(llama_for_run(options, 100, 1).context, 111);
}

TEST(run_memory, the_longest_prompt_that_it_names_fits_and_leaves_room_for_the_answer) {
  const tiny::TemporaryFile file(wide_spec());
  for (const int64_t predict : {int64_t{0}, int64_t{8192}}) {
    const RunOptions options = options_of(predict);
    const ScopedAvailableMemory some(128 * kMiB);
    const auto refused = plan_run(file.path(), text_of(60000), options);
    ASSERT_EQ(refused.code(), Code::kResourceExhausted) << refused.message();
    EXPECT_NE(refused.message().find("128.0 MiB"), std::string::npos) << refused.message();
    const int64_t longest = number_behind(refused.message(), "fits has ");
    ASSERT_GT(longest, 1000) << refused.message();
    EXPECT_TRUE(plan_run(file.path(), text_of(longest - 8), options).is_ok()) << longest;
    EXPECT_FALSE(plan_run(file.path(), text_of(longest + 1000), options).is_ok()) << longest;
    EXPECT_EQ(refused.message().find("-n") != std::string::npos, predict > 0);
  }
}

// A model so wide that each row of the graph is MiB: little memory is a short prompt, not none.
TEST(run_memory, short_prompts_are_told_to_the_token) {
  tiny::Spec spec = wide_spec();
  spec.layers = 1;
  spec.ff = 65536;
  const tiny::TemporaryFile file(spec);
  const RunOptions options = options_of(0);
  const auto peak_of = [&](int64_t tokens) {
    ModelOptions load;
    load.threads = 1;
    const auto plan = predict_memory(file.path(), load, options.engine, {.prompt = tokens});
    EXPECT_TRUE(plan.is_ok()) << plan.message();
    return plan.is_ok() ? plan->peak : 0;
  };
  ASSERT_GT(peak_of(21), peak_of(20));
  const ScopedAvailableMemory some(peak_of(20));
  const auto refused = plan_run(file.path(), text_of(2000), options);
  ASSERT_EQ(refused.code(), Code::kResourceExhausted) << refused.message();
  EXPECT_EQ(number_behind(refused.message(), "fits has "), 20) << refused.message();
}

TEST(run_memory, an_answer_takes_its_part_of_what_fits) {
  const tiny::TemporaryFile file(wide_spec());
  const ScopedAvailableMemory some(128 * kMiB);
  const auto longest = [&](int64_t predict) {
    const auto refused = plan_run(file.path(), text_of(60000), options_of(predict));
    return number_behind(refused.message(), "fits has ");
  };
  EXPECT_NEAR(static_cast<double>(longest(0) - longest(8192)), 8192, 128);
}

RunOptions several_answers(int parallel, int64_t predict) {
  RunOptions options = options_of(predict);
  options.parallel = options.engine.max_sequences = parallel;
  return options;
}

// Together they are longer than the context, which each of them has for itself.
TEST(run_memory, several_answers_leave_the_prompt_what_one_of_them_leaves) {
  const tiny::TemporaryFile file(wide_spec());
  const RunOptions options = several_answers(64, 1100);
  const ScopedAvailableMemory some(500 * kMiB);
  const auto refused = plan_run(file.path(), text_of(60000), options);
  ASSERT_EQ(refused.code(), Code::kResourceExhausted) << refused.message();
  const int64_t longest = number_behind(refused.message(), "fits has ");
  ASSERT_GT(longest, 1000) << refused.message();
  EXPECT_TRUE(plan_run(file.path(), text_of(longest - 8), options).is_ok()) << longest;
}

TEST(run_memory, more_answers_than_any_plan_counts_do_not_fit) {
  tiny::Spec spec = wide_spec();
  spec.context = 1 << 20;
  const tiny::TemporaryFile file(spec);
  RunOptions options = several_answers(1024, int64_t{1} << 31);
  options.engine.context = spec.context;
  const auto refused = plan_run(file.path(), text_of(10), options);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted) << refused.message();
}

TEST(run_memory, the_peer_of_a_comparison_is_counted) {
  const tiny::TemporaryFile file(wide_spec());
  RunOptions options = options_of(-1);  // llama.cpp then takes its cache for the whole context
  const std::string text = text_of(100);
  const auto alone = plan_run(file.path(), text, options);
  ASSERT_TRUE(alone.is_ok()) << alone.message();
  const ScopedAvailableMemory just_enough(alone->peak + kMiB);
  EXPECT_TRUE(plan_run(file.path(), text, options).is_ok());
  options.compare = "llama.cpp";
  const auto refused = plan_run(file.path(), text, options);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  for (const char* words : {"llama.cpp's context", "leave --compare out"}) {
    EXPECT_NE(refused.message().find(words), std::string::npos) << refused.message();
  }
}

// The engines run one after the other, heed's model stays: the larger of the two decides.
TEST(run_memory, a_short_prompt_with_a_comparison_takes_the_peer_beside_heeds_model) {
  const tiny::TemporaryFile file(wide_spec());
  for (const int64_t tokens : {8, 60, 500}) {
    RunOptions options = options_of(-1);  // the peer takes its whole cache at once
    const std::string text = text_of(tokens);
    const auto least = [&] {
      return test::least_memory([&] { return plan_run(file.path(), text, options).is_ok(); });
    };
    const uint64_t alone = least();
    options.compare = "llama.cpp";
    const uint64_t both = least();
    const auto llama = eval::predict_llama_memory(file.path(), llama_for_run(options, tokens, 1));
    ASSERT_TRUE(llama.is_ok()) << llama.message();
    ASSERT_GT(both, alone) << tokens;  // else the peer does not decide and nothing is shown
    EXPECT_GT(both, llama->total()) << tokens;
    EXPECT_LE(both, llama->total() + alone) << tokens;
    const ScopedAvailableMemory little(both - 1);
    const auto refused = plan_run(file.path(), text, options);
    ASSERT_EQ(refused.code(), Code::kResourceExhausted);
    for (const char* words : {"heed's model", "llama.cpp's model", "leave --compare out"}) {
      EXPECT_NE(refused.message().find(words), std::string::npos) << refused.message();
    }
    const ScopedAvailableMemory less(alone - 1);  // heed's own lack has another way out
    const auto hopeless = plan_run(file.path(), text, options);
    ASSERT_EQ(hopeless.code(), Code::kResourceExhausted);
    EXPECT_EQ(hopeless.message().find("--compare"), std::string::npos) << hopeless.message();
  }
}

TEST(run_memory, the_longest_prompt_of_a_comparison_fits_and_a_longer_one_does_not) {
  const tiny::TemporaryFile file(wide_spec());
  RunOptions options = options_of(16);
  options.compare = "llama.cpp";
  const uint64_t some =
      test::least_memory([&] { return plan_run(file.path(), text_of(400), options).is_ok(); });
  const ScopedAvailableMemory enough(some);
  const auto refused = plan_run(file.path(), text_of(30000), options);
  ASSERT_EQ(refused.code(), Code::kResourceExhausted) << refused.message();
  const int64_t longest = number_behind(refused.message(), "fits has ");
  ASSERT_GE(longest, 400 - 2 * kPageTokens) << refused.message();
  EXPECT_TRUE(plan_run(file.path(), text_of(longest), options).is_ok()) << longest;
  EXPECT_FALSE(plan_run(file.path(), text_of(longest + 2 * kPageTokens), options).is_ok());
}

TEST(run_memory, unknown_memory_refuses_nothing) {
  const tiny::TemporaryFile file(wide_spec());
  const ScopedAvailableMemory unknown(std::nullopt);
  RunOptions options = options_of(1024);
  options.compare = "llama.cpp";
  EXPECT_TRUE(plan_run(file.path(), text_of(60000), options).is_ok());
}

TEST(run_memory, the_command_ends_with_code_1) {
  const tiny::TemporaryFile file(wide_spec());
  EXPECT_EXIT(
      {
        const ScopedAvailableMemory little(kMiB);
        std::exit(main_with({"run", file.path(), "-p", "hello", "-t", "1"}));
      },
      testing::ExitedWithCode(1), "available are 1.0 MiB; not even a prompt of one token fits");
}

}  // namespace
}  // namespace heed::cli
