// Sequences: fork, truncate, several together, refusals, reports.
#include <gtest/gtest.h>

#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;

// ggml's products promise no equal bits for other batch shapes, so rows of another shape are
// compared within what fp32 sums in another order give (measured 0 to 2e-7 on these models).
constexpr double kOtherShape = 2e-6;

TEST(Sequence, decode_equals_prefill_of_the_same_tokens) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), test::exact_options());
  const std::vector<Token> tokens = test::random_tokens(130, 80, 1);
  const SeqId whole = test::prefilled(*engine, tokens);
  const SeqId seq = test::prefilled(*engine, {tokens.begin(), tokens.begin() + 60});
  for (size_t i = 60; i < tokens.size(); ++i) test::step(*engine, seq, tokens[i]);
  EXPECT_LE(test::distance(logits_of(*engine, seq), logits_of(*engine, whole)), kOtherShape);
}

TEST(Sequence, chunks_do_not_change_logits) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const std::vector<Token> tokens = test::random_tokens(400, 80, 2);
  std::vector<float> first;
  for (const int chunk : {512, 400, 128, 65, 64, 63, 17}) {
    EngineOptions options = test::exact_options();
    options.chunk = chunk;
    const auto engine = test::make_engine(file.path(), options);
    const std::vector<float> logits = logits_of(*engine, test::prefilled(*engine, tokens));
    if (first.empty()) first = logits;
    EXPECT_LE(test::distance(logits, first), kOtherShape) << chunk;
  }
}

TEST(Sequence, a_fork_goes_its_own_way_and_the_original_does_not_notice) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  const std::vector<Token> prompt = test::random_tokens(100, 80, 3);
  const SeqId seq = test::prefilled(*engine, prompt);
  const auto fork = engine->fork(seq);
  ASSERT_TRUE(fork.is_ok());
  EXPECT_EQ(logits_of(*engine, *fork), logits_of(*engine, seq));
  const std::vector<float> a = test::step(*engine, *fork, 5);
  const std::vector<float> b = test::step(*engine, seq, 9);
  const auto alone = test::make_engine(file.path(), {});
  const SeqId other = test::prefilled(*alone, prompt);
  EXPECT_EQ(test::step(*alone, other, 5), a);
  ASSERT_TRUE(alone->truncate(other, 100).is_ok());
  EXPECT_EQ(test::step(*alone, other, 9), b);
  ASSERT_TRUE(engine->drop(seq).is_ok());
  EXPECT_FALSE(engine->logits(seq).is_ok());
  EXPECT_EQ(logits_of(*engine, *fork), a);
}

TEST(Sequence, truncate_and_decode_again_gives_the_same_bits) {
  tiny::Spec spec;
  spec.arch = "gemma3";
  spec.window = 20;
  spec.layers = 6;
  const tiny::TemporaryFile file(spec);
  const auto engine = test::make_engine(file.path(), {});
  const SeqId seq = test::prefilled(*engine, test::random_tokens(61, 80, 4));
  const std::vector<Token> tail = test::random_tokens(20, 80, 5);
  std::vector<std::vector<float>> first;
  for (const Token t : tail) first.push_back(test::step(*engine, seq, t));
  for (const int keep : {80, 70, 64, 63, 61}) {
    ASSERT_TRUE(engine->truncate(seq, keep).is_ok());
    EXPECT_FALSE(engine->logits(seq).is_ok());
    for (int i = keep - 61; i < 20; ++i) {
      ASSERT_EQ(test::step(*engine, seq, tail[i]), first[i]) << keep << " " << i;
    }
  }
}

TEST(Sequence, several_decoded_together_equal_each_alone) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), test::exact_options());
  const auto alone = test::make_engine(file.path(), test::exact_options(), 1);
  std::vector<SeqToken> next;
  std::vector<SeqId> single;
  for (int i = 0; i < 9; ++i) {
    const std::vector<Token> prompt = test::random_tokens(1 + 17 * i, 80, 10 + i);
    next.push_back({test::prefilled(*engine, prompt), 0});
    single.push_back(test::prefilled(*alone, prompt));
  }
  for (int round = 0; round < 70; ++round) {
    for (int i = 0; i < 9; ++i) next[i].token = (round * 7 + i) % 80;
    ASSERT_TRUE(engine->decode(next).is_ok());
    for (int i = 0; i < 9; i += 4) {
      const std::vector<float> expected = test::step(*alone, single[i], next[i].token);
      ASSERT_LE(test::distance(logits_of(*engine, next[i].seq), expected), kOtherShape) << round;
    }
  }
}

TEST(Sequence, threads_do_not_change_attention) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const std::vector<Token> tokens = test::random_tokens(300, 80, 6);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    const auto engine = test::make_engine(file.path(), test::exact_options(), threads);
    const SeqId seq = test::prefilled(*engine, tokens);
    const std::vector<float> logits = test::step(*engine, seq, 1);
    if (first.empty()) first = logits;
    EXPECT_LE(test::distance(logits, first), kOtherShape) << threads;
  }
}

TEST(Sequence, logits_of_every_row_end_with_those_of_the_last) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), test::exact_options());
  const std::vector<Token> tokens = test::random_tokens(150, 80, 7);
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  std::vector<float> last;
  int64_t rows = 0;
  PrefillOptions call;
  call.on_logits = [&](int64_t first, View<const float, 2> logits) {
    EXPECT_EQ(first, rows);
    rows += logits.shape[0];
    const float* row = &logits(logits.shape[0] - 1, 0);
    last.assign(row, row + logits.shape[1]);
  };
  ASSERT_TRUE(engine->prefill(*seq, tokens, call).is_ok());
  EXPECT_EQ(rows, 150);
  EXPECT_EQ(logits_of(*engine, *seq), last);
  EXPECT_LE(test::distance(last, logits_of(*engine, test::prefilled(*engine, tokens))),
            kOtherShape);
}

TEST(Sequence, storage_formats_stay_within_their_rounding) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const std::vector<Token> tokens = test::random_tokens(200, 80, 8);
  const auto exact = test::make_engine(file.path(), test::exact_options());
  const std::vector<float> expected = logits_of(*exact, test::prefilled(*exact, tokens));
  // Half a last place of the format (2^-9, 2^-12), times two layers of keys, values and weights.
  const struct {
    Format format;
    double bound;
  } kCases[] = {{Format::kF16, 12 * 0x1p-12}, {Format::kBf16, 12 * 0x1p-9}};
  for (const auto& c : kCases) {
    EngineOptions options;
    options.k = options.v = c.format;
    const auto engine = test::make_engine(file.path(), options);
    const double error =
        test::distance(logits_of(*engine, test::prefilled(*engine, tokens)), expected);
    EXPECT_LE(error, c.bound) << format_name(c.format);
    EXPECT_GT(error, 1e-6) << format_name(c.format) << " stores as if it were f32";
  }
}

TEST(Sequence, refusals_name_the_thing_the_value_and_the_limit) {
  tiny::Spec spec;
  spec.context = 128;
  const tiny::TemporaryFile file(spec);
  const auto engine = test::make_engine(file.path(), {});
  const SeqId seq = test::prefilled(*engine, test::random_tokens(100, 80, 9));
  const auto expect = [](const Status& status, Code code, std::vector<const char*> needles) {
    EXPECT_EQ(status.code(), code) << status.message();
    for (const char* needle : needles) {
      EXPECT_NE(status.message().find(needle), std::string::npos) << status.message();
    }
  };
  expect(engine->prefill(seq, test::random_tokens(40, 80, 1)), Code::kOutOfRange,
         {"40", "100", "128", "leave out 12"});
  expect(engine->prefill(seq, std::vector<Token>{1, 80}), Code::kOutOfRange, {"80", "79"});
  expect(engine->prefill(seq, std::vector<Token>{-1}), Code::kOutOfRange, {"-1"});
  expect(engine->prefill(seq, {}), Code::kInvalidArgument, {"one token"});
  expect(engine->prefill(99, std::vector<Token>{1}), Code::kNotFound, {"99"});
  const SeqToken twice[] = {{seq, 1}, {seq, 2}};
  expect(engine->decode(twice), Code::kInvalidArgument, {"twice"});
  expect(engine->decode({}), Code::kOutOfRange, {"0 sequences", "64"});
  expect(engine->truncate(seq, 101), Code::kOutOfRange, {"100", "101"});
  expect(engine->truncate(seq, -1), Code::kOutOfRange, {"-1"});
  EXPECT_EQ(engine->length(seq), 100);
  EngineOptions beyond;
  beyond.context = 129;
  expect(Engine::create(Model::load(file.path(), {}).value(), beyond).status(), Code::kOutOfRange,
         {"129", "128"});
  beyond.beyond_context = true;
  const auto longer = test::make_engine(file.path(), beyond);
  test::prefilled(*longer, test::random_tokens(300, 80, 9));
}

TEST(Sequence, weights_widened_to_fp32_compute_the_same_model) {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorF16;
  const tiny::TemporaryFile file(spec);
  const std::vector<Token> tokens = test::random_tokens(100, 80, 11);
  const auto stored = test::make_engine(file.path(), test::exact_options());
  ModelOptions load;
  load.weights = Weights::kF32;
  const auto model = Model::load(file.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  EXPECT_EQ((*model)->info().linear, "ggml f32");
  const auto wide = Engine::create(*model, test::exact_options());
  ASSERT_TRUE(wide.is_ok());
  const double error = test::distance(logits_of(*stored, test::prefilled(*stored, tokens)),
                                      logits_of(**wide, test::prefilled(**wide, tokens)));
  EXPECT_LE(error, 12 * 0x1p-12);  // F16 products round activations to f16
}

}  // namespace
}  // namespace heed
