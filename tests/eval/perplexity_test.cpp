// Perplexity is llama.cpp's: from its logits by the formula, and by hand where hands can count.
#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "eval/llama_baseline.h"
#include "heed/model.h"
#include "tiny_adapter.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

TEST(perplexity, sums_of_halves_and_quarters_have_the_figures_of_paper_and_pencil) {
  Perplexity p;
  EXPECT_TRUE(std::isnan(p.value()));
  for (const double probability : {0.5, 0.25, 0.5, 0.25}) p.add(-std::log(probability));
  EXPECT_EQ(p.tokens, 4);
  EXPECT_NEAR(p.value(), std::pow(2.0, 1.5), 1e-12);
  // -ln p is ln 2 times 1, 2, 1, 2: variance of the population 1/4, of the mean 1/4 over 3.
  EXPECT_NEAR(p.margin(), std::log(2.0) * std::sqrt(0.25 / 3) * std::pow(2.0, 1.5), 1e-12);
}

TEST(perplexity, windows_score_their_second_half_and_begin_with_the_first_token) {
  std::vector<Token> text(23);
  std::iota(text.begin(), text.end(), 100);
  const auto windows = scored_windows(text, 1, 10, 0, -1);
  ASSERT_TRUE(windows.is_ok()) << windows.message();
  ASSERT_EQ(windows->size(), 2u);
  const ScoredWindow& second = (*windows)[1];
  EXPECT_EQ(second.tokens[0], 1);
  EXPECT_EQ(second.tokens[1], 111);
  EXPECT_EQ(second.first, 5);  // predicts token 6; the last that is predicted is token 9
  EXPECT_EQ(second.targets[5], 116);
  EXPECT_EQ(second.targets[8], 119);
  EXPECT_EQ((*scored_windows(text, -1, 10, 0, -1))[1].tokens[0], 110);
  EXPECT_EQ(scored_windows(text, -1, 10, 0, 1)->size(), 1u);
  const auto strided = scored_windows(text, 1, 10, 4, -1);
  ASSERT_TRUE(strided.is_ok()) << strided.message();
  ASSERT_EQ(strided->size(), 4u);  // (23 - 10 + 3) / 4
  EXPECT_EQ((*strided)[3].tokens[0], 112);
  EXPECT_EQ((*strided)[3].first, 5);  // 4 scores: tokens 6 to 9
  const auto few = scored_windows(text, 1, 12, 0, -1);
  EXPECT_FALSE(few.is_ok());
  EXPECT_NE(few.message().find("23 tokens"), std::string::npos) << few.message();
  EXPECT_NE(few.message().find("-c 11"), std::string::npos) << few.message();
  EXPECT_FALSE(scored_windows(text, 1, 10, 10, -1).is_ok());
}

constexpr int kContext = 32;

// Sums of a row follow each other through both layers: over 64 of the width (norms, q k v, out,
// gate and up), 16 of a head, up to 32 keys, 96 of the feed-forward, and 64 in the head, about
// 1,000 additions. Each rounds by at most 2^-24 of what it adds up; were all of them to err alike,
// ln p would move by 1,000 * 2^-24.
constexpr double kFp32Sums = 1000 * 0x1p-24;

const tiny::Spec kSpec{
    .layers = 2, .vocab = 300, .context = 128, .text_vocabulary = true, .space_token = true};

class PerplexityRun : public testing::Test {
 protected:
  PerplexityOptions options() const {
    PerplexityOptions o;
    o.model = file_.path();
    for (int i = 0; i < 12; ++i) o.text += "the quick brown fox jumps over it ";
    o.context = kContext;
    o.threads = 1;
    o.compare = true;
    o.engine.k = o.engine.v = Format::kF32;
    return o;
  }

  tiny::TemporaryFile file_{kSpec};
};

// The definition written out: fp64 softmax of llama.cpp's logits, window by window. `exact`: with
// f32 keys and values and without flash attention, so that all it rounds to is fp32.
double by_formula(const std::string& path, const std::string& text, bool exact) {
  ModelOptions load;
  load.threads = 1;
  const auto model = Model::load(path, load);
  EXPECT_TRUE(model.is_ok()) << model.message();
  const auto tokens = (*model)->tokenize(text, true, false);
  LlamaOptions options;
  options.context = kContext;
  options.ubatch = options.batch = kContext;
  options.f32_kv = exact;
  options.flash = !exact;
  auto llama = LlamaBaseline::load(path, options);
  EXPECT_TRUE(llama.is_ok()) << llama.message();
  double sum = 0;
  int count = 0;
  for (size_t at = 0; at + kContext <= tokens->size(); at += kContext) {
    std::vector<Token> window(tokens->begin() + static_cast<int64_t>(at),
                              tokens->begin() + static_cast<int64_t>(at) + kContext);
    window[0] = tokens->front();  // the beginning-of-text token
    (*llama)->clear();
    const auto seen = [&](int64_t first, View<const float, 2> logits) {
      for (int64_t r = 0; r < logits.shape[0]; ++r) {
        const int64_t row = first + r;
        if (row < kContext / 2 || row > kContext - 2) continue;
        double total = 0;
        for (int64_t t = 0; t < logits.shape[1]; ++t) {
          total += std::exp(static_cast<double>(logits(r, t)));
        }
        sum -=
            static_cast<double>(logits(r, window[static_cast<size_t>(row) + 1])) - std::log(total);
        ++count;
      }
    };
    EXPECT_TRUE((*llama)->prefill(window, seen).is_ok());
  }
  EXPECT_GT(count, 60);
  return std::exp(sum / count);
}

TEST_F(PerplexityRun, equals_the_formula_on_llama_cpp_logits) {
  const PerplexityOptions o = options();
  int windows = 0;
  PerplexityOptions watched = o;
  watched.on_window = [&](const PerplexityReport& r) { EXPECT_EQ(r.done, ++windows); };
  const auto report = run_perplexity(watched);
  ASSERT_TRUE(report.is_ok()) << report.message();
  EXPECT_EQ(report->done, report->windows);
  EXPECT_EQ(windows, report->windows);
  EXPECT_EQ(report->heed.tokens, report->windows * (kContext / 2 - 1));
  ASSERT_TRUE(report->llama.has_value());
  EXPECT_NEAR(report->llama->value() / by_formula(o.model, o.text, false), 1, 1e-6);
  // Both with f32 pages differ in the order of fp32 sums alone.
  const double exact = by_formula(o.model, o.text, true);
  RecordProperty("of_exact", std::to_string(std::log(report->heed.value() / exact)));
  EXPECT_NEAR(std::log(report->heed.value() / exact), 0, kFp32Sums);
  // What is left between the two columns is what llama.cpp's f16 cache rounds, and nothing more.
  const double rounded = std::log(report->llama->value() / exact);
  EXPECT_NEAR(std::log(report->llama->value() / report->heed.value()), rounded, kFp32Sums);
}

TEST_F(PerplexityRun, adapters_are_in_both_engines_to_the_same_rounding) {
  const tiny::TemporaryFile lora(tiny::make_adapter(
      kSpec,
      {.gain = 2, .takes = [](const std::string& name) { return name != "token_embd.weight"; }}));
  const tiny::TemporaryFile control(tiny::make_control(kSpec, tiny::directions(kSpec, 1)));
  PerplexityOptions o = options();
  const auto plain = run_perplexity(o);
  o.adapters.loras = {{lora.path(), 0.75f}};
  o.adapters.controls = {{control.path(), 1}};
  const auto adapted = run_perplexity(o);
  ASSERT_TRUE(plain.is_ok() && adapted.is_ok()) << plain.message() << adapted.message();
  const double change = std::log(adapted->heed.value() / plain->heed.value());
  const double peer = std::log(adapted->llama->value() / plain->llama->value());
  EXPECT_GT(std::abs(change), 0.05) << "the adapters change nothing, so this shows nothing";
  EXPECT_NEAR(peer / change, 1, 0.1);
  EXPECT_FALSE(adapted->adaptation.empty());
}

TEST_F(PerplexityRun, a_cancel_leaves_the_windows_that_were_done) {
  PerplexityOptions o = options();
  CancelToken cancel;
  o.cancel = &cancel;
  o.on_window = [&](const PerplexityReport&) { cancel.cancel(); };
  const auto report = run_perplexity(o);
  ASSERT_TRUE(report.is_ok()) << report.message();
  EXPECT_TRUE(report->interrupted);
  EXPECT_EQ(report->done, 1);
  EXPECT_EQ(report->heed.tokens, kContext / 2 - 1);
  EXPECT_EQ(report->llama->tokens, report->heed.tokens);
}

TEST_F(PerplexityRun, refusals_name_the_limit) {
  PerplexityOptions o = options();
  o.context = 4096;
  const auto context = run_perplexity(o);
  EXPECT_NE(context.message().find("trained for 128"), std::string::npos) << context.message();
  o = options();
  o.text = "short";
  const auto text = run_perplexity(o);
  EXPECT_NE(text.message().find("need at least 64"), std::string::npos) << text.message();
}

}  // namespace
}  // namespace heed::eval
