// Work that does not fit in memory is refused before it starts, with the numbers and the way out;
// memory of unknown size is no reason to refuse.
#include "eval/memory_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "base/units.h"
#include "eval/bench_kernels.h"
#include "eval/bench_memory.h"
#include "eval/bench_model.h"
#include "eval/kl.h"
#include "eval/llama_memory.h"
#include "least_memory.h"
#include "session/available_memory.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

tiny::Spec text_spec() {
  return {.arch = "llama", .layers = 2, .vocab = 300, .context = 2048, .text_vocabulary = true};
}

void expect_refused(const Status& status, std::initializer_list<const char*> words) {
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  for (const char* word : words) {
    EXPECT_NE(status.message().find(word), std::string::npos) << word << ": " << status.message();
  }
}

TEST(MemoryCheck, names_the_parts_what_is_available_and_the_way_out) {
  const MemoryNeed needs[] = {{"one", 3 * kMiB}, {"two", 2 * kMiB}};
  {
    const ScopedAvailableMemory enough(5 * kMiB);
    EXPECT_TRUE(fits_in_memory(needs));
    EXPECT_TRUE(check_memory("work", needs, "do less").is_ok());
  }
  const ScopedAvailableMemory little(5 * kMiB - 1);
  EXPECT_FALSE(fits_in_memory(needs));
  expect_refused(check_memory("work", needs, "do less"),
                 {"work", "5.0 MiB", "one 3.0 MiB", "two 2.0 MiB", "do less"});
}

TEST(MemoryCheck, unknown_memory_is_said_and_nothing_is_refused) {
  const ScopedAvailableMemory unknown(std::nullopt);
  const MemoryNeed needs[] = {{"all", uint64_t{1} << 60}};
  std::string said;
  EXPECT_TRUE(
      check_memory("work", needs, "", [&](const std::string& line) { said = line; }).is_ok());
  EXPECT_NE(said.find("unknown"), std::string::npos) << said;
  const tiny::TemporaryFile file(text_spec());
  const auto plan = predict_memory(file.path(), {}, {}, {.prompt = 64});
  ASSERT_TRUE(plan.is_ok());
  EXPECT_FALSE(plan->available);
  EXPECT_EQ(plan->longest_prompt, 2048);
}

TEST(MemoryCheck, kl_is_refused_before_anything_is_loaded) {
  const tiny::TemporaryFile file(text_spec());
  KlOptions options;
  options.model = file.path();
  options.text = "a text that is never read";
  options.context = 2048;
  options.threads = 1;
  const ScopedAvailableMemory little(kMiB);
  expect_refused(run_kl(options).status(), {"2048 tokens", "llama.cpp", "reference", "1.0 MiB"});
}

TEST(MemoryCheck, kl_says_which_window_would_fit) {
  const tiny::TemporaryFile file(text_spec());
  KlOptions options;
  options.model = file.path();
  options.text = "a text that is never read";
  options.threads = 1;
  // Between what 2,048 and fewer tokens take: found by asking, so that no figure is assumed.
  options.context = 2048;
  for (uint64_t mib = 16; mib < 4096; mib += 4) {
    const ScopedAvailableMemory some(mib * kMiB);
    const Status status = run_kl(options).status();
    if (status.message().find("-c ") == std::string::npos) continue;
    expect_refused(status, {"fit: -c "});
    return;
  }
  ADD_FAILURE() << "no size of memory led to a shorter window";
}

TEST(MemoryCheck, bench_counts_both_engines) {
  const tiny::TemporaryFile file(text_spec());
  BenchOptions options;
  options.model = file.path();
  options.threads = 1;
  options.compare_llama = true;
  const ScopedAvailableMemory little(kMiB);
  expect_refused(bench_model(options).status(), {"512 tokens", "1.0 MiB"});
}

// Short tests are planned to the byte, the peer with what its own simulation says.
TEST(MemoryCheck, a_short_test_with_compare_takes_what_the_peer_takes_more) {
  const tiny::TemporaryFile file(text_spec());
  BenchOptions alone;
  alone.model = file.path();
  alone.threads = 1;
  BenchOptions both = alone;
  both.compare_llama = true;
  both.baseline = LlamaOptions{};
  for (const int64_t tokens : {1, 17, 64, 300}) {
    const BenchTest test{.n = tokens};
    const auto least = [&](const BenchOptions& options) {
      return test::least_memory([&] { return check_bench_memory(options, {&test, 1}).is_ok(); });
    };
    LlamaOptions llama;
    llama.context = tokens;
    const auto peer = predict_llama_memory(file.path(), llama);
    ASSERT_TRUE(peer.is_ok()) << peer.message();
    const uint64_t heed = least(alone), sum = least(both);
    EXPECT_EQ(sum - heed, peer->total()) << tokens;
    const ScopedAvailableMemory little(sum - 1);
    expect_refused(
        check_bench_memory(both, {&test, 1}),
        {"heed ", "llama.cpp ", bytes_text(heed).c_str(), bytes_text(peer->total()).c_str(),
         bytes_text(sum).c_str(), "leave --compare out"});
    const ScopedAvailableMemory less(heed - 1);  // what heed alone lacks, the peer's absence
    const std::string refusal = check_bench_memory(both, {&test, 1}).message();
    EXPECT_NE(refusal.find("would take"), std::string::npos) << refusal;
    EXPECT_EQ(refusal.find("--compare"), std::string::npos) << refusal;
  }
}

TEST(MemoryCheck, short_windows_of_kl_take_both_configurations_of_the_peer_too) {
  const tiny::TemporaryFile file(text_spec());
  for (const int64_t window : {1, 17, 64}) {
    KlOptions options;
    options.model = file.path();
    options.text = "";  // refused behind the plan
    options.context = window;
    options.threads = 1;
    const auto planned = [&] { return run_kl(options).code() != Code::kResourceExhausted; };
    const uint64_t least = test::least_memory(planned);
    LlamaOptions flash, plain;
    flash.context = plain.context = window;
    plain.flash = false;
    plain.f32_kv = true;
    ModelOptions load;
    load.threads = 1;
    EngineOptions engine;
    engine.context = window;
    const auto heed = predict_memory(file.path(), load, engine, {.prompt = window});
    const auto peers = predict_llama_memory(file.path(), std::array{flash, plain}, true);
    ASSERT_TRUE(heed.is_ok() && peers.is_ok());
    EXPECT_GE(least, heed->peak + (*peers)[0].total() + (*peers)[1].of_context()) << window;
    const ScopedAvailableMemory little(least - 1);
    expect_refused(run_kl(options).status(), {"heed ", "llama.cpp twice ", "the reference"});
  }
}

TEST(MemoryCheck, long_kernel_cases_are_refused_with_a_length_that_fits) {
  KernelBenchOptions options;
  options.decode = false;
  options.head_sizes = {64};
  options.groups = {4};
  options.lengths = {1 << 20};
  options.threads = 1;
  const ScopedAvailableMemory some(uint64_t{8} << 30);
  expect_refused(bench_kernels(options).status(), {"1048576", "ggml", "--lengths "});
}

TEST(MemoryCheck, a_kernel_case_is_at_least_a_page_long) {
  KernelBenchOptions options;
  for (const int64_t length : {int64_t{0}, int64_t{1}, int64_t{63}}) {
    options.lengths = {length};
    const auto report = bench_kernels(options);
    EXPECT_EQ(report.code(), Code::kOutOfRange);
    EXPECT_NE(report.message().find("64"), std::string::npos) << report.message();
  }
}

// Resident bytes of this process.
uint64_t resident() {
  std::ifstream in("/proc/self/statm");
  uint64_t size = 0, pages = 0;
  in >> size >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST(LlamaMemory, covers_what_llama_then_takes) {
  tiny::Spec spec = text_spec();
  spec.embd = 256;
  spec.layers = 8;
  const tiny::TemporaryFile file(spec);
  LlamaOptions options;
  options.context = 2048;
  options.f32_kv = true;
  const auto memory = predict_llama_memory(file.path(), options, true);
  ASSERT_TRUE(memory.is_ok()) << memory.message();
  const uint64_t before = resident();
  auto llama = LlamaBaseline::load(file.path(), options);
  ASSERT_TRUE(llama.is_ok()) << llama.message();
  std::vector<Token> tokens(2000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<Token>(i % 290);
  ASSERT_TRUE((*llama)->prefill(tokens, [](int64_t, View<const float, 2>) {}).is_ok());
  const uint64_t taken = resident() - std::min(resident(), before);
  // 8 MiB of code, heap and threads are nobody's part.
  EXPECT_LE(taken, memory->total() + 8 * kMiB);
  EXPECT_GE(taken, memory->context / 2);
  EXPECT_GT(memory->context, 0u);
  EXPECT_GT(memory->weights, 0u);
}

TEST(LlamaMemory, grows_with_the_context_and_without_flash_attention) {
  const tiny::TemporaryFile file(text_spec());
  LlamaOptions small, large, plain;
  small.context = 512;
  large.context = 2048;
  plain.context = 2048;
  plain.flash = false;
  const std::array all{small, large, plain};
  const auto memory = predict_llama_memory(file.path(), all);
  ASSERT_TRUE(memory.is_ok()) << memory.message();
  EXPECT_EQ((*memory)[1].context, 4 * (*memory)[0].context);
  EXPECT_GT((*memory)[2].compute, (*memory)[1].compute);
  EXPECT_EQ((*memory)[0].weights, (*memory)[2].weights);
  EXPECT_FALSE(predict_llama_memory("/nonexistent.gguf", small).is_ok());
}

}  // namespace
}  // namespace heed::eval
