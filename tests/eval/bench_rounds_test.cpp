// Rounds of two engines by turns: who goes first, what each is given, how many there are.
#include "eval/bench_rounds.h"

#include <gtest/gtest.h>

namespace heed::eval {
namespace {

struct Call {
  std::string engine, what;
  std::vector<Token> tokens;
};

// Writes down what it is given and holds no more than a length.
class FakeEngine : public BenchEngine {
 public:
  FakeEngine(const char* name, std::vector<Call>& calls) : name_(name), calls_(calls) {}
  const char* name() const override { return name_; }
  std::string config() const override { return "a fake"; }
  Status clear() override { return take("clear", {}, -length_); }
  Status prefill(std::span<const Token> tokens) override {
    return take("prefill", {tokens.begin(), tokens.end()}, static_cast<int64_t>(tokens.size()));
  }
  Status decode(Token token) override { return take("decode", {token}, 1); }
  Status truncate(int64_t n) override { return take("truncate", {}, n - length_); }
  uint64_t kv_bytes() const override { return static_cast<uint64_t>(length_) * 10; }
  void park() override { parked_ = true; }
  double take_attention_s() override { return -1; }
  bool parked() const { return parked_; }
  int64_t length() const { return length_; }

 private:
  Status take(const char* what, std::vector<Token> tokens, int64_t longer) {
    parked_ = false;
    length_ += longer;
    calls_.push_back({name_, what, std::move(tokens)});
    return Status::ok();
  }

  const char* name_;
  std::vector<Call>& calls_;
  int64_t length_ = 0;
  bool parked_ = false;
};

struct Rounds {
  std::vector<Call> calls;
  std::vector<std::unique_ptr<BenchEngine>> engines;
  std::vector<EngineRounds> result;

  const FakeEngine& engine(size_t i) const { return static_cast<const FakeEngine&>(*engines[i]); }
};

void run(const BenchTest& test, const std::vector<Token>& tokens, int rounds, Rounds& out) {
  out.engines.push_back(std::make_unique<FakeEngine>("heed", out.calls));
  out.engines.push_back(std::make_unique<FakeEngine>("llama.cpp", out.calls));
  auto result = run_rounds(test, out.engines, tokens, 0, rounds, {});
  ASSERT_TRUE(result.is_ok()) << result.message();
  out.result = std::move(*result);
}

TEST(BenchRounds, which_engine_goes_first_changes_from_round_to_round) {
  // Longer than the warm-up, which is how the timed calls are told from it.
  const BenchTest test{.generate = false, .n = 600, .depth = 5};
  const std::vector<Token> tokens = bench_tokens(1000, test.end());
  Rounds rounds;
  run(test, tokens, 5, rounds);
  std::string order;
  const std::vector<Token> part(tokens.begin() + 5, tokens.end());
  for (const Call& call : rounds.calls) {
    if (call.what != "prefill" || call.tokens.size() != 600) continue;
    order += call.engine[0];
    EXPECT_EQ(call.tokens, part);  // the same work in every round
  }
  EXPECT_EQ(order, "hllhhllhhl");
  ASSERT_EQ(rounds.result.size(), 2u);
  for (size_t e = 0; e < 2; ++e) {
    EXPECT_EQ(rounds.result[e].seconds.size(), 5u);
    EXPECT_EQ(rounds.result[e].kv_bytes, 6050u);  // at the end of the test
    EXPECT_EQ(rounds.engine(e).length(), 5);
    EXPECT_TRUE(rounds.engine(e).parked());
  }
}

TEST(BenchRounds, a_depth_is_filled_and_generation_follows_it_token_by_token) {
  const BenchTest test{.generate = true, .n = 6, .depth = 20};
  const std::vector<Token> tokens = bench_tokens(1000, test.end());
  Rounds rounds;
  run(test, tokens, 2, rounds);
  std::vector<Token> filled, decoded;
  int rewinds = 0;
  for (const Call& call : rounds.calls) {
    if (call.engine != "heed") continue;
    if (call.what == "prefill") filled = call.tokens;
    if (call.what == "decode") decoded.push_back(call.tokens[0]);
    rewinds += call.what == "truncate";
  }
  EXPECT_EQ(filled, std::vector<Token>(tokens.begin(), tokens.begin() + 20));
  ASSERT_EQ(decoded.size(), 4u + 2 * 6);  // the warm-up and two rounds
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(decoded[4 + i], tokens[20 + i]);
  EXPECT_EQ(rewinds, 3);
}

TEST(BenchRounds, long_tests_have_fewer_of_them) {
  const auto rounds = [](bool generate, int64_t n, int64_t depth) {
    return default_rounds({.generate = generate, .n = n, .depth = depth});
  };
  EXPECT_EQ(rounds(false, 512, 0), 9);
  EXPECT_EQ(rounds(false, 4096, 0), 5);
  EXPECT_EQ(rounds(false, 16384, 0), 3);
  EXPECT_EQ(rounds(false, 32768, 0), 1);
  EXPECT_EQ(rounds(false, 512, 32768), 1);  // its end counts
  EXPECT_EQ(rounds(true, 32, 0), 9);
  EXPECT_EQ(rounds(true, 32, 4096), 9);
  EXPECT_EQ(rounds(true, 32, 16384), 5);
  EXPECT_EQ(rounds(true, 32, 32768), 3);
}

}  // namespace
}  // namespace heed::eval
