// The peer as the benchmarks and the oracle use it: chunks, rewinding, limits, cancel, profile.
#include "eval/llama_baseline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "eval/attention_share.h"
#include "eval/baseline_choice.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

const tiny::Spec kSpec{
    .arch = "llama", .layers = 2, .vocab = 300, .context = 512, .text_vocabulary = true};

LlamaOptions small_options() {
  LlamaOptions options;
  options.threads = 2;
  options.context = 256;
  options.ubatch = 32;
  options.f32_kv = true;
  return options;
}

std::vector<Token> some_tokens(int n) {
  std::vector<Token> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((11 * i + 5) % 290);
  return tokens;
}

std::vector<float> last_logits(LlamaBaseline& llama) {
  const auto row = llama.logits();
  EXPECT_TRUE(row.is_ok()) << row.message();
  return {row->begin(), row->end()};
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, static_cast<double>(std::fabs(a[i] - b[i])));
  }
  return largest;
}

class LlamaBaselineTest : public testing::Test {
 protected:
  std::unique_ptr<LlamaBaseline> open(const LlamaOptions& options) {
    auto llama = LlamaBaseline::load(file_.path(), options);
    EXPECT_TRUE(llama.is_ok()) << llama.message();
    return llama.is_ok() ? std::move(*llama) : nullptr;
  }
  tiny::TemporaryFile file_{kSpec};
};

TEST_F(LlamaBaselineTest, all_logits_end_in_the_last_ones) {
  auto llama = open(small_options());
  ASSERT_NE(llama, nullptr);
  const auto tokens = some_tokens(75);
  int64_t rows = 0;
  std::vector<float> last;
  ASSERT_TRUE(llama
                  ->prefill(tokens,
                            [&](int64_t first, View<const float, 2> logits) {
                              EXPECT_EQ(first, rows);
                              rows += logits.shape[0];
                              const float* row = &logits(logits.shape[0] - 1, 0);
                              last.assign(row, row + logits.shape[1]);
                            })
                  .is_ok());
  EXPECT_EQ(rows, 75);
  llama->clear();
  ASSERT_TRUE(llama->prefill(tokens).is_ok());
  EXPECT_LT(largest_difference(last_logits(*llama), last), 1e-4);
}

TEST_F(LlamaBaselineTest, rewinding_gives_the_same_continuation) {
  auto llama = open(small_options());
  ASSERT_NE(llama, nullptr);
  ASSERT_TRUE(llama->prefill(some_tokens(40)).is_ok());
  const uint64_t bytes = llama->kv_bytes();
  ASSERT_TRUE(llama->decode(7).is_ok());
  const auto first = last_logits(*llama);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(llama->decode(i).is_ok());
  EXPECT_GT(llama->kv_bytes(), bytes);
  ASSERT_TRUE(llama->truncate(40).is_ok());
  EXPECT_EQ(llama->length(), 40);
  EXPECT_EQ(llama->kv_bytes(), bytes);
  ASSERT_TRUE(llama->decode(7).is_ok());
  EXPECT_LT(largest_difference(last_logits(*llama), first), 1e-5);
}

TEST_F(LlamaBaselineTest, the_flash_switch_reaches_llama_and_changes_little) {
  LlamaOptions plain = small_options();
  plain.flash = false;
  auto a = open(small_options()), b = open(plain);
  ASSERT_TRUE(a->prefill(some_tokens(60)).is_ok());
  ASSERT_TRUE(b->prefill(some_tokens(60)).is_ok());
  const double difference = largest_difference(last_logits(*a), last_logits(*b));
  EXPECT_GT(difference, 0);    // other kernels
  EXPECT_LT(difference, 0.1);  // of logits that spread over several units; measured: 0.02
}

TEST_F(LlamaBaselineTest, what_does_not_fit_is_refused_and_changes_nothing) {
  auto llama = open(small_options());
  ASSERT_NE(llama, nullptr);
  EXPECT_FALSE(llama->logits().is_ok());
  EXPECT_FALSE(llama->prefill({}).is_ok());
  ASSERT_TRUE(llama->prefill(some_tokens(200)).is_ok());
  const Status over = llama->prefill(some_tokens(100));
  EXPECT_EQ(over.code(), Code::kResourceExhausted) << over.message();
  EXPECT_EQ(llama->length(), 200);
  EXPECT_FALSE(llama->truncate(201).is_ok());
  EXPECT_FALSE(llama->decode(100000).is_ok());
  EXPECT_EQ(llama->length(), 200);
  EXPECT_TRUE(llama->decode(3).is_ok());
}

TEST_F(LlamaBaselineTest, a_cancel_is_a_status) {
  CancelToken cancel;
  LlamaOptions options = small_options();
  options.cancel = &cancel;
  auto llama = open(options);
  ASSERT_NE(llama, nullptr);
  cancel.cancel();
  EXPECT_EQ(llama->prefill(some_tokens(10)).code(), Code::kCancelled);
  cancel.reset();
  EXPECT_TRUE(llama->prefill(some_tokens(10)).is_ok());
}

TEST_F(LlamaBaselineTest, bad_options_and_files_are_refused) {
  EXPECT_FALSE(LlamaBaseline::load("/nonexistent.gguf", small_options()).is_ok());
  LlamaOptions options = small_options();
  options.context = 0;
  EXPECT_EQ(LlamaBaseline::load(file_.path(), options).code(), Code::kOutOfRange);
  options = small_options();
  options.threads = 0;
  EXPECT_EQ(LlamaBaseline::load(file_.path(), options).code(), Code::kOutOfRange);
}

TEST_F(LlamaBaselineTest, the_profile_finds_attention) {
  LlamaOptions options = small_options();
  const auto model = LlamaModel::load(file_.path(), {});
  ASSERT_TRUE(model.is_ok());
  const auto share = profile_llama(*model, options, some_tokens(200));
  ASSERT_TRUE(share.is_ok()) << share.message();
  const BenchTest test{.generate = false, .n = 128, .depth = 0};
  EXPECT_GT(share->attention_s(test), 0);
  EXPECT_GT(share->other_s(test), 0);
  EXPECT_GT(share->share(test), 0);
  EXPECT_LT(share->share(test), 1);
}

TEST(AttentionShare, predicts_what_attention_alone_explains) {
  LlamaShare share;
  share.ubatch = 100;
  share.prefill_attention = {1.0, 0.01};  // 1 s at depth 0, 2 s at depth 100
  share.prefill_other = 2.0;
  const BenchTest test{.generate = false, .n = 200, .depth = 0};
  EXPECT_DOUBLE_EQ(share.attention_s(test), 3.0);
  EXPECT_DOUBLE_EQ(share.other_s(test), 4.0);
  EXPECT_DOUBLE_EQ(share.share(test), 3.0 / 7.0);
  EXPECT_DOUBLE_EQ(share.predicted_ratio(test, 3.0), 1.0);
  EXPECT_DOUBLE_EQ(share.predicted_ratio(test, 1.0), 7.0 / 5.0);
}

TEST(AttentionShare, a_line_goes_through_its_points) {
  const std::vector<Point> points{{0, 1}, {10, 3}, {20, 5}};
  const Line line = fit_line(points);
  EXPECT_NEAR(line.at(40), 9, 1e-12);
  const std::vector<Point> one{{512, 4}};
  EXPECT_DOUBLE_EQ(fit_line(one).at(4096), 4);
}

TEST(Baseline, is_read_from_text) {
  const auto options = parse_baseline("flash=off,ubatch=1024,repack=off");
  ASSERT_TRUE(options.is_ok()) << options.message();
  EXPECT_FALSE(options->flash);
  EXPECT_FALSE(options->repack);
  EXPECT_EQ(options->ubatch, 1024);
  for (const char* bad :
       {"flash", "flash=maybe", "ubatch=0", "ubatch=5000", "ubatch=12x", "x=on"}) {
    EXPECT_EQ(parse_baseline(bad).code(), Code::kInvalidArgument) << bad;
  }
}

TEST(Baseline, the_choice_is_one_of_the_eight) {
  const tiny::TemporaryFile file(kSpec);
  LlamaModels models(file.path(), nullptr);
  LlamaOptions common;
  common.threads = 2;
  const auto choice = choose_baseline(models, common, some_tokens(64), {});
  ASSERT_TRUE(choice.is_ok()) << choice.message();
  for (const LlamaOptions& options : {choice->prefill, choice->decode}) {
    EXPECT_TRUE(options.ubatch == 512 || options.ubatch == 2048);
    EXPECT_EQ(options.threads, 2);
    EXPECT_FALSE(options.f32_kv);
  }
}

}  // namespace
}  // namespace heed::eval
