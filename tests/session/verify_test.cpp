// Engine::verify: several tokens in one step are several steps, and can be taken back.
#include <gtest/gtest.h>

#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_encoder.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;

struct Case {
  const char* name;
  tiny::Spec spec;
  EngineOptions options;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

tiny::Spec windowed_spec() {
  tiny::Spec spec;
  spec.arch = "gemma3";
  spec.window = 20;
  spec.layers = 6;
  return spec;
}

tiny::Spec packed_spec() {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorQ4_0;
  return spec;
}

EngineOptions short_chunks() {
  EngineOptions options;
  options.chunk = 24;
  return options;
}

std::vector<float> row_of(View<const float, 2> rows, int64_t i) {
  return {&rows(i, 0), &rows(i, 0) + rows.shape[1]};
}

class Verify : public testing::TestWithParam<Case> {};

TEST_P(Verify, rows_have_the_bits_of_decoding_one_token_after_the_other) {
  const tiny::TemporaryFile file(GetParam().spec);
  const auto engine = test::make_engine(file.path(), GetParam().options);
  const std::vector<Token> tail = test::random_tokens(24, 80, 5);
  for (const int held : {1, 60, 130}) {  // in the first page, over its end, in the third
    const SeqId plain = test::prefilled(*engine, test::random_tokens(held, 80, 4));
    const auto together = engine->fork(plain);
    ASSERT_TRUE(together.is_ok());
    std::vector<std::vector<float>> expected;
    for (const Token token : tail) expected.push_back(test::step(*engine, plain, token));
    size_t at = 0;
    for (const size_t n : {1, 2, 4, 5, 9}) {
      const auto rows = engine->verify(*together, {tail.data() + at, n});
      ASSERT_TRUE(rows.is_ok()) << rows.message();
      ASSERT_EQ(rows->shape[0], static_cast<int64_t>(n));
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(row_of(*rows, static_cast<int64_t>(i)), expected[at + i]) << n << " " << i;
      }
      at += n;
      EXPECT_EQ(logits_of(*engine, *together), expected[at - 1]);
      EXPECT_EQ(engine->length(*together), held + static_cast<int64_t>(at));
    }
    EXPECT_EQ(test::step(*engine, *together, tail[at]), expected[at]) << "behind verified tokens";
  }
}

TEST_P(Verify, truncate_keeps_the_logits_of_a_verified_token_and_the_bits_behind_it) {
  const tiny::TemporaryFile file(GetParam().spec);
  const auto engine = test::make_engine(file.path(), GetParam().options);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(61, 80, 4));
  const std::vector<Token> right = test::random_tokens(7, 80, 5);
  std::vector<std::vector<float>> expected;
  for (const Token token : right) expected.push_back(test::step(*engine, seq, token));
  for (size_t good = 1; good < right.size(); ++good) {
    ASSERT_TRUE(engine->truncate(seq, 61).is_ok());
    std::vector<Token> guesses = test::random_tokens(7, 80, 60 + good);
    std::copy_n(right.begin(), good, guesses.begin());
    ASSERT_TRUE(engine->verify(seq, guesses).is_ok());
    ASSERT_TRUE(engine->truncate(seq, 61 + static_cast<int64_t>(good)).is_ok());
    EXPECT_EQ(logits_of(*engine, seq), expected[good - 1]);
    EXPECT_EQ(test::step(*engine, seq, right[good]), expected[good]);
  }
  ASSERT_TRUE(engine->truncate(seq, 61).is_ok());
  ASSERT_TRUE(engine->verify(seq, right).is_ok());
  ASSERT_TRUE(engine->truncate(seq, 61).is_ok());
  EXPECT_FALSE(engine->logits(seq).is_ok()) << "no verified token is left";
}

INSTANTIATE_TEST_SUITE_P(Models, Verify,
                         testing::Values(Case{"llama", {}, {}}, Case{"q4_0", packed_spec(), {}},
                                         Case{"windows", windowed_spec(), {}},
                                         Case{"experts", tiny::expert_spec("qwen3moe"), {}},
                                         Case{"sinks", tiny::expert_spec("gpt-oss"), {}},
                                         Case{"f32 pages", {}, test::exact_options()},
                                         Case{"short chunks", {}, short_chunks()}));

TEST(Verify, a_step_that_fails_moves_nothing) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  const SeqId seq = test::prefilled(*engine, test::random_tokens(62, 80, 1));
  const std::vector<float> before = logits_of(*engine, seq);
  const std::vector<Token> tokens = test::random_tokens(5, 80, 2);
  for (const int node : {0, 3, 9}) {
    engine->fail_after_node(node);
    EXPECT_EQ(engine->verify(seq, tokens).code(), Code::kInternal);
    engine->fail_after_node(-1);
    EXPECT_EQ(engine->length(seq), 62);
    EXPECT_EQ(logits_of(*engine, seq), before);
  }
  CancelToken cancel;
  cancel.cancel();
  EXPECT_EQ(engine->verify(seq, tokens, &cancel).code(), Code::kCancelled);
  EXPECT_EQ(engine->length(seq), 62);
  EXPECT_EQ(logits_of(*engine, seq), before);
}

TEST(Verify, a_fork_does_not_see_what_the_other_verifies_or_takes_back) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  const SeqId seq = test::prefilled(*engine, test::random_tokens(70, 80, 1));
  const auto fork = engine->fork(seq);
  ASSERT_TRUE(fork.is_ok());
  const std::vector<float> before = logits_of(*engine, seq);
  ASSERT_TRUE(engine->verify(*fork, test::random_tokens(6, 80, 2)).is_ok());
  const auto second = engine->fork(*fork);
  ASSERT_TRUE(second.is_ok());
  const std::vector<float> last = logits_of(*engine, *fork);
  ASSERT_TRUE(engine->truncate(*fork, 73).is_ok());
  EXPECT_EQ(logits_of(*engine, seq), before);
  EXPECT_EQ(logits_of(*engine, *second), last);
  EXPECT_NE(logits_of(*engine, *fork), last);
  // Of the second one nothing was verified: the rows are the first's.
  ASSERT_TRUE(engine->truncate(*second, 73).is_ok());
  EXPECT_FALSE(engine->logits(*second).is_ok());
}

TEST(Verify, refusals_name_the_value_and_the_limit) {
  tiny::Spec spec;
  spec.context = 128;
  const tiny::TemporaryFile file(spec);
  EngineOptions options;
  options.max_sequences = 1;
  options.chunk = 16;
  const auto engine = test::make_engine(file.path(), options);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(120, 80, 1));
  const auto expect = [](const Status& status, Code code, std::vector<const char*> needles) {
    EXPECT_EQ(status.code(), code) << status.message();
    for (const char* needle : needles) {
      EXPECT_NE(status.message().find(needle), std::string::npos) << status.message();
    }
  };
  expect(engine->verify(seq, {}).status(), Code::kOutOfRange, {"0 tokens", "1 to 16"});
  expect(engine->verify(seq, test::random_tokens(17, 80, 1)).status(), Code::kOutOfRange,
         {"17 tokens", "1 to 16"});
  expect(engine->verify(seq, test::random_tokens(9, 80, 1)).status(), Code::kOutOfRange,
         {"9 tokens", "120", "128"});
  expect(engine->verify(seq, std::vector<Token>{1, 80}).status(), Code::kOutOfRange, {"80", "79"});
  expect(engine->verify(99, std::vector<Token>{1}).status(), Code::kNotFound, {"99"});
  const auto wide = test::make_engine(file.path(), {});
  const SeqId other = test::prefilled(*wide, {1});
  expect(wide->verify(other, test::random_tokens(65, 80, 1)).status(), Code::kOutOfRange,
         {"65 tokens", "1 to 64"});
}

// A step takes no more rows than the engine made room for, whatever is asked of the drafter.
TEST(Verify, guesses_keep_to_what_a_step_takes) {
  tiny::Spec spec;
  spec.vocab = 300;
  spec.text_vocabulary = true;
  const tiny::TemporaryFile file(spec);
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  options.max_tokens = 30;
  const std::vector<Token> prompt = test::random_tokens(20, 300, 9);
  std::vector<Token> plain;
  for (const int chunk : {512, 1, 2, 5}) {
    EngineOptions small;
    small.chunk = chunk;
    small.max_sequences = 1;
    const auto engine = test::make_engine(file.path(), small, 1);
    const SeqId seq = engine->create_sequence().value();
    const auto lookup = make_lookup_drafter({.ngram = 1});
    ASSERT_TRUE(lookup.is_ok());
    options.draft = {.drafter = chunk == 512 ? nullptr : lookup->get(), .max = 7, .min = 2};
    const auto made = generate(*engine, seq, prompt, options);
    ASSERT_TRUE(made.is_ok()) << chunk << ": " << made.message();
    if (chunk == 512) plain = made->tokens;
    EXPECT_EQ(made->tokens, plain) << chunk;
    EXPECT_EQ(made->draft.drafted > 0, chunk == 5) << "of two at least, and no more than fit";
  }
}

TEST(Verify, an_encoder_has_no_next_token) {
  const tiny::TemporaryFile file(tiny::make_encoder({}));
  const auto engine = test::make_engine(file.path(), {}, 1);
  const SeqId seq = engine->create_sequence().value();
  const auto rows = engine->verify(seq, std::vector<Token>{1, 2});
  EXPECT_EQ(rows.code(), Code::kUnsupported) << rows.message();
  EXPECT_NE(rows.message().find("heed embed"), std::string::npos) << rows.message();
  EXPECT_EQ(engine->length(seq), 0);
}

}  // namespace
}  // namespace heed
