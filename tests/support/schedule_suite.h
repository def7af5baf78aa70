// Random orders of the same work: chunks of prompts, batches of generated tokens, threads. Each
// token's logits are compared, bit for bit, with those of its sequence alone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed::test {

constexpr int kSequences = 3;
constexpr int kGenerated = 5;
constexpr int kSchedulesOfRound = 7;

struct Work {
  std::vector<Token> prompt;
  std::vector<Token> generated;
  std::vector<std::vector<float>> logits;  // behind the prompt and behind each generated token
};

inline tiny::Spec schedule_spec(const std::string& arch) {
  const bool experts = arch == "qwen3moe" || arch == "gpt-oss" || arch == "deepseek2";
  tiny::Spec spec = experts ? tiny::expert_spec(arch) : tiny::Spec();
  spec.arch = arch;
  spec.weight_type = tiny::kTensorQ4_0;
  if (arch == "qwen2") spec.biases = true;
  if (arch == "gemma3") {
    spec.window = 40;
    spec.window_period = 2;
  }
  if (arch == "gemma2") spec.window = 40;
  spec.fused_qkv = arch == "phi3";
  if (arch == "deepseek2") spec.key_part = spec.head_v = spec.q_rank = 32;
  if (arch == "mistral3") {
    spec.rope_original_context = 32;
    spec.numbers = {{"attention.temperature_scale", 0.3f}};
  }
  return spec;
}

inline std::vector<Work> works(uint64_t seed) {
  std::vector<Work> all;
  for (uint64_t s = 0; s < kSequences; ++s) {
    Work work;
    const int length = 1 + static_cast<int>(random_below(seed, s, 150));
    work.prompt = random_tokens(length, 80, seed + 10 * s);
    work.generated = random_tokens(kGenerated, 80, seed + 10 * s + 1);
    all.push_back(std::move(work));
  }
  return all;
}

// Each sequence in an engine of its own, one chunk, then token by token.
inline void run_alone(const std::string& path, std::vector<Work>& all, Linear linear) {
  for (Work& work : all) {
    const auto engine = make_engine(path, {}, 1, linear);
    ASSERT_NE(engine, nullptr);
    const SeqId seq = prefilled(*engine, work.prompt);
    work.logits = {logits_of(*engine, seq)};
    for (const Token token : work.generated) {
      work.logits.push_back(step(*engine, seq, token));
    }
  }
}

// One random order of the same work in one engine.
class Schedule {
 public:
  Schedule(Engine& engine, std::vector<Work>& all, uint64_t seed)
      : engine_(engine), all_(all), random_(seed) {
    for (size_t s = 0; s < all.size(); ++s) seqs_.push_back(*engine.create_sequence());
    read_.resize(all.size());
    made_.resize(all.size());
  }
  ~Schedule() {
    for (const SeqId seq : seqs_) EXPECT_TRUE(engine_.drop(seq).is_ok());
  }

  void run() {
    while (!testing::Test::HasFailure()) {
      std::vector<size_t> reading, making;
      for (size_t s = 0; s < all_.size(); ++s) {
        if (read_[s] < all_[s].prompt.size()) {
          reading.push_back(s);
        } else if (made_[s] < all_[s].generated.size()) {
          making.push_back(s);
        }
      }
      if (reading.empty() && making.empty()) return;
      if (making.empty() || (!reading.empty() && random_.below(2) == 0)) {
        read(reading[random_.below(reading.size())]);
      } else {
        make(making);
      }
    }
  }

 private:
  void read(size_t s) {
    const Work& work = all_[s];
    const size_t n = 1 + random_.below(work.prompt.size() - read_[s]);
    ASSERT_TRUE(engine_.prefill(seqs_[s], std::span(work.prompt).subspan(read_[s], n)).is_ok());
    read_[s] += n;
    if (read_[s] == work.prompt.size()) compare(s, 0);
  }

  // A random subset of those that generate, in a random order.
  void make(std::vector<size_t> ready) {
    for (size_t i = ready.size(); i > 1; --i) std::swap(ready[i - 1], ready[random_.below(i)]);
    ready.resize(1 + random_.below(ready.size()));
    std::vector<SeqToken> batch;
    for (const size_t s : ready) batch.push_back({seqs_[s], all_[s].generated[made_[s]]});
    ASSERT_TRUE(engine_.decode(batch).is_ok());
    for (const size_t s : ready) compare(s, ++made_[s]);
  }

  void compare(size_t s, size_t step) {
    EXPECT_EQ(logits_of(engine_, seqs_[s]), all_[s].logits[step])
        << "sequence " << s << " behind " << step << " generated tokens";
  }

  Engine& engine_;
  std::vector<Work>& all_;
  Random random_;
  std::vector<SeqId> seqs_;
  std::vector<size_t> read_, made_;
};

// Rounds differ in prompts, chunk and threads, also more of them than there may be cores.
inline void check_schedules(const std::string& arch, uint64_t rounds,
                            Linear linear = Linear::kHeed) {
  const tiny::TemporaryFile file(schedule_spec(arch));
  for (uint64_t round = 0; round < rounds && !testing::Test::HasFailure(); ++round) {
    std::vector<Work> all = works(100 * round + 7);
    run_alone(file.path(), all, linear);
    EngineOptions options;
    options.chunk = 1 + static_cast<int>(random_below(9, round, 160));
    const auto engine = make_engine(file.path(), options, 1 + static_cast<int>(round % 4), linear);
    ASSERT_NE(engine, nullptr);
    ASSERT_EQ(engine->model().info().linear, linear_name(linear)) << "the products under test";
    for (uint64_t i = 0; i < kSchedulesOfRound && !testing::Test::HasFailure(); ++i) {
      Schedule(*engine, all, 1000 * round + i).run();
    }
  }
}

}  // namespace heed::test
