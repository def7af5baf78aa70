// The C API does what the C++ API does, and turns every failure into a code and a message.
#include "counting_heap.h"

#include <gtest/gtest.h>
#include <heed.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>

#include "heed/version.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.text_vocabulary = spec.space_token = true;
  spec.vocab = 300;
  return spec;
}

// A model with an engine, through the C API.
class CApi : public testing::Test {
 protected:
  void SetUp() override {
    heed_error error;
    const heed_model_options load = {2};
    ASSERT_EQ(heed_model_load(file_.path().c_str(), &load, &model_, &error), HEED_OK)
        << error.message;
    EXPECT_STREQ(error.message, "");
    ASSERT_EQ(heed_engine_create(model_, nullptr, &engine_, &error), HEED_OK) << error.message;
  }
  void TearDown() override {
    heed_model_free(model_);  // before its engine, which keeps what it needs
    heed_engine_free(engine_);
  }

  heed_sequence prefilled(const std::vector<heed_token>& tokens) {
    heed_sequence sequence = -1;
    EXPECT_EQ(heed_sequence_create(engine_, &sequence, nullptr), HEED_OK);
    EXPECT_EQ(heed_prefill(engine_, sequence, tokens.data(), tokens.size(), nullptr), HEED_OK);
    return sequence;
  }
  std::vector<float> logits(heed_sequence sequence) {
    const float* row = nullptr;
    EXPECT_EQ(heed_logits(engine_, sequence, &row, nullptr), HEED_OK);
    return row == nullptr ? std::vector<float>() : std::vector<float>(row, row + vocab());
  }
  int32_t vocab() const { return heed_model_vocab(model_); }

  tiny::TemporaryFile file_{text_spec()};
  heed_model* model_ = nullptr;
  heed_engine* engine_ = nullptr;
};

TEST_F(CApi, answers_with_the_bits_of_the_cpp_api) {
  EXPECT_STREQ(heed_version(), version());
  const auto engine = make_engine(file_.path(), {});
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(vocab(), engine->model().info().vocab);
  EXPECT_EQ(heed_model_context(model_), engine->model().info().trained_context);
  const std::vector<heed_token> prompt = random_tokens(40, vocab(), 1);
  const SeqId own = test::prefilled(*engine, prompt);
  const heed_sequence one = prefilled(prompt);
  EXPECT_EQ(logits(one), logits_of(*engine, own));

  heed_sequence two = -1;
  ASSERT_EQ(heed_sequence_fork(engine_, one, &two, nullptr), HEED_OK);
  const heed_next next[] = {{one, 5}, {two, 7}};
  ASSERT_EQ(heed_decode(engine_, next, 2, nullptr), HEED_OK);
  EXPECT_EQ(heed_sequence_length(engine_, two), 41);
  EXPECT_EQ(logits(two), step(*engine, own, 7));
  ASSERT_TRUE(engine->truncate(own, 40).is_ok());
  EXPECT_EQ(logits(one), step(*engine, own, 5));

  ASSERT_EQ(heed_sequence_truncate(engine_, one, 40, nullptr), HEED_OK);
  ASSERT_EQ(heed_decode(engine_, &next[0], 1, nullptr), HEED_OK);
  EXPECT_EQ(logits(one), logits_of(*engine, own));
  ASSERT_EQ(heed_sequence_drop(engine_, two, nullptr), HEED_OK);
  EXPECT_EQ(heed_decode(engine_, &next[1], 1, nullptr), HEED_NOT_FOUND);
}

TEST_F(CApi, text_is_that_of_the_cpp_api_and_says_how_much_room_it_needs) {
  const auto engine = make_engine(file_.path(), {});
  const auto expected = engine->model().tokenize("two words", true, true);
  ASSERT_TRUE(expected.is_ok()) << expected.message();
  heed_error error;
  size_t count = 0;
  EXPECT_EQ(heed_tokenize(model_, "two words", 1, 1, nullptr, 0, &count, &error),
            HEED_OUT_OF_RANGE);
  ASSERT_EQ(count, expected->size());
  std::vector<heed_token> tokens(count, -1);
  EXPECT_EQ(heed_tokenize(model_, "two words", 1, 1, tokens.data(), count - 1, &count, &error),
            HEED_OUT_OF_RANGE);
  EXPECT_NE(std::string(error.message).find("do not fit into"), std::string::npos);
  EXPECT_EQ(tokens, std::vector<heed_token>(count, -1));
  ASSERT_EQ(heed_tokenize(model_, "two words", 1, 1, tokens.data(), count, &count, &error), HEED_OK)
      << error.message;
  EXPECT_EQ(tokens, *expected);
  char bytes[64];
  ASSERT_EQ(heed_piece(model_, tokens.back(), bytes, sizeof bytes, &count, &error), HEED_OK);
  EXPECT_EQ(std::string(bytes, count), *engine->model().piece(tokens.back()));
}

TEST_F(CApi, every_failure_is_a_code_and_names_what_is_wrong) {
  heed_error error;
  const auto fails = [&error](heed_code code, heed_code expected, const std::string& named) {
    EXPECT_EQ(code, expected) << error.message;
    EXPECT_EQ(error.code, expected);
    EXPECT_NE(std::string(error.message).find(named), std::string::npos) << error.message;
  };
  heed_model* model = model_;
  fails(heed_model_load("/nonexistent.gguf", nullptr, &model, &error), HEED_NOT_FOUND,
        "/nonexistent.gguf");
  EXPECT_EQ(model, nullptr);
  fails(heed_model_load(nullptr, nullptr, &model, &error), HEED_INVALID_ARGUMENT, "path is NULL");
  const heed_model_options load = {-1};
  fails(heed_model_load(file_.path().c_str(), &load, &model, &error), HEED_OUT_OF_RANGE, "-1");
  heed_engine* engine = engine_;
  fails(heed_engine_create(nullptr, nullptr, &engine, &error), HEED_INVALID_ARGUMENT, "model");
  EXPECT_EQ(engine, nullptr);
  heed_engine_options options = {};
  options.k_format = "f61";
  fails(heed_engine_create(model_, &options, &engine, &error), HEED_INVALID_ARGUMENT, "f61");
  options.k_format = nullptr;
  options.chunk = -4;
  fails(heed_engine_create(model_, &options, &engine, &error), HEED_OUT_OF_RANGE, "-4");

  const heed_token token = 3;
  fails(heed_prefill(engine_, 99, &token, 1, &error), HEED_NOT_FOUND, "99");
  const heed_sequence sequence = prefilled({1, 2});
  const heed_token outside = vocab();
  fails(heed_prefill(engine_, sequence, &outside, 1, &error), HEED_OUT_OF_RANGE,
        std::to_string(outside));
  EXPECT_EQ(heed_sequence_length(engine_, sequence), 2);
  fails(heed_sequence_truncate(engine_, sequence, 7, &error), HEED_OUT_OF_RANGE, "7");
  heed_sequence made = sequence;
  fails(heed_sequence_fork(engine_, 99, &made, &error), HEED_NOT_FOUND, "99");
  EXPECT_EQ(made, -1);
  made = sequence;
  fails(heed_sequence_create(nullptr, &made, &error), HEED_INVALID_ARGUMENT, "engine is NULL");
  EXPECT_EQ(made, -1);
  const float* row = nullptr;
  fails(heed_logits(engine_, 99, &row, &error), HEED_NOT_FOUND, "99");
  fails(heed_decode(engine_, nullptr, 1, &error), HEED_INVALID_ARGUMENT, "next is NULL");
  EXPECT_EQ(heed_decode(nullptr, nullptr, 1, nullptr), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(heed_model_vocab(nullptr), 0);
  heed_model_free(nullptr);
  heed_engine_free(nullptr);
}

TEST(c_api, a_message_that_is_too_long_is_cut_between_characters) {
  heed_error error;
  heed_model* model = nullptr;
  for (size_t lead = 0; lead < 2; ++lead) {
    std::string path = "/" + std::string(lead, 'x');
    for (int i = 0; i < 1000; ++i) path += "\xC3\xA4";
    EXPECT_NE(heed_model_load(path.c_str(), nullptr, &model, &error), HEED_OK);
    const std::string message = error.message;
    EXPECT_GT(message.size(), 1000u);
    EXPECT_EQ(message.substr(message.size() - 2), "\xC3\xA4");
  }
}

TEST_F(CApi, a_failing_allocation_is_a_code_and_moves_nothing) {
  const heed_sequence sequence = prefilled({1, 2, 3});
  const heed_next next = {sequence, 4};
  // The graph is built before, not under the shortage: test_session does that to ggml.
  ASSERT_EQ(heed_decode(engine_, &next, 1, nullptr), HEED_OK);
  const std::vector<float> expected = logits(sequence);
  ASSERT_EQ(heed_sequence_truncate(engine_, sequence, 3, nullptr), HEED_OK);
  int failures = 0;
  for (int64_t n = 0;; ++n) {
    heed_error error;
    allocations_left = n;
    const heed_code code = heed_decode(engine_, &next, 1, &error);
    const bool failed = allocations_left.exchange(-1) < 0;
    if (!failed) {
      EXPECT_EQ(code, HEED_OK);
      break;
    }
    if (code == HEED_OK) {  // the one that failed was not needed
      ASSERT_EQ(heed_sequence_truncate(engine_, sequence, 3, nullptr), HEED_OK);
      continue;
    }
    ++failures;
    EXPECT_EQ(code, HEED_RESOURCE_EXHAUSTED) << error.message;
    EXPECT_EQ(heed_sequence_length(engine_, sequence), 3);
  }
  EXPECT_GT(failures, 0);
  EXPECT_EQ(logits(sequence), expected);
}

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(CApi, the_example_in_c99_prints_the_tokens_of_the_cpp_api) {
  const auto engine = make_engine(file_.path(), {}, 0);
  const auto prompt = engine->model().tokenize("one two", true, true);
  ASSERT_TRUE(prompt.is_ok());
  const SeqId seq = test::prefilled(*engine, *prompt);
  std::string text, tokens;
  for (int i = 0; i < 12; ++i) {
    const std::vector<float> row = logits_of(*engine, seq);
    const auto token = static_cast<Token>(std::max_element(row.begin(), row.end()) - row.begin());
    if (engine->model().is_end(token)) break;
    text += *engine->model().piece(token);
    tokens += std::to_string(token) + "\n";
    step(*engine, seq, token);
  }
  ASSERT_FALSE(tokens.empty());
  const std::string out = file_.path() + ".out", err = file_.path() + ".err";
  const std::string command =
      std::string(HEED_EXAMPLE) + " " + file_.path() + " 'one two' 12 >" + out + " 2>" + err;
  EXPECT_EQ(std::system(command.c_str()), 0) << text_of(err);
  EXPECT_EQ(text_of(out), text);
  EXPECT_EQ(text_of(err), tokens);
  std::remove(out.c_str());
  std::remove(err.c_str());
}

}  // namespace
}  // namespace heed::test
