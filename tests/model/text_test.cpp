// The text side: chat templates, real tokens, choices.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "heed/sampling.h"
#include "model/pull.h"
#include "model/tokenizer.h"
#include "tiny_vocabulary.h"

namespace heed {
namespace {

TEST(chat_template, one_that_never_ends_or_recurses_or_floods_is_an_error) {
  const ChatMessage turn{"user", "needle"};
  tiny::File file = tiny::byte_pair_file("smollm");
  const auto rendered = [&](const std::string& jinja) {
    file.set(tiny::text_key("tokenizer.chat_template", jinja));
    const tiny::TemporaryFile written(file);
    const auto vocabulary = load_vocabulary(written.path());
    EXPECT_TRUE(vocabulary.is_ok()) << vocabulary.message();
    return apply_template(vocabulary->get(), {&turn, 1}, true);
  };
  const auto good = rendered("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
  ASSERT_TRUE(good.is_ok()) << good.message();
  EXPECT_EQ(*good, "<user>needle");
  const std::string deep(200'000, '(');
  for (const std::string& jinja :
       {std::string("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "{{ " + deep + " }}",
        std::string("{% for i in range(2000000000) %}{{ i }}{% endfor %}")}) {
    const auto text = rendered(jinja);
    ASSERT_FALSE(text.is_ok()) << jinja.substr(0, 60);
    EXPECT_NE(text.message().find("chat template"), std::string::npos) << text.message();
    EXPECT_NE(text.message().find("--raw"), std::string::npos) << text.message();
  }
}

class Text : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const Result<std::string> path = ensure_model("smollm2:135m");
    ASSERT_TRUE(path.is_ok()) << path.message();
    auto loaded = Model::load(*path, {});
    ASSERT_TRUE(loaded.is_ok()) << loaded.message();
    model_ = *loaded;
  }
  static void TearDownTestSuite() { model_.reset(); }
  void SetUp() override { ASSERT_NE(model_, nullptr); }
  static inline std::shared_ptr<Model> model_;
};

TEST_F(Text, pieces_put_the_text_together_again) {
  const std::string text = "Grüße, 世界 😀!\n\tTabs and \"quotes\".";
  const auto tokens = model_->tokenize(text, false, false);
  ASSERT_TRUE(tokens.is_ok());
  std::string back;
  for (const Token t : *tokens) back += model_->piece(t).value();
  EXPECT_EQ(back, text);
  EXPECT_EQ(model_->piece(-1).code(), Code::kOutOfRange);
  EXPECT_EQ(model_->piece(model_->info().vocab).code(), Code::kOutOfRange);
  EXPECT_FALSE(model_->is_end(-5));
}

TEST_F(Text, special_tokens_are_one_token_only_when_asked_for) {
  const auto parsed = model_->tokenize("<|im_end|>", false, true);
  const auto plain = model_->tokenize("<|im_end|>", false, false);
  ASSERT_EQ(parsed->size(), 1u);
  EXPECT_GT(plain->size(), 1u);
  EXPECT_TRUE(model_->is_end(parsed->front()));
}

TEST_F(Text, the_template_of_the_file_frames_each_turn_once) {
  const ChatMessage turn{"user", "needle"};
  const auto text = model_->apply_template({&turn, 1}, true);
  ASSERT_TRUE(text.is_ok()) << text.message();
  EXPECT_NE(text->find("<|im_start|>user\nneedle<|im_end|>"), std::string::npos) << *text;
  EXPECT_EQ(text->find("needle"), text->rfind("needle"));
  EXPECT_TRUE(text->ends_with("<|im_start|>assistant\n")) << *text;
}

TEST_F(Text, temperature_zero_takes_the_largest_logit) {
  const auto vocab = static_cast<size_t>(model_->info().vocab);
  std::vector<float> logits(vocab);
  SamplerOptions options;
  options.temperature = 0;
  auto sampler = Sampler::create(*model_, options);
  ASSERT_TRUE(sampler.is_ok()) << sampler.message();
  for (size_t at : {size_t{0}, size_t{17}, vocab - 1}) {
    std::iota(logits.begin(), logits.end(), -1e5f);
    logits[at] = 1e6f;
    EXPECT_EQ(*(*sampler)->sample(logits), static_cast<Token>(at));
  }
}

TEST_F(Text, a_seed_repeats_its_choices) {
  const auto vocab = static_cast<size_t>(model_->info().vocab);
  std::vector<float> logits(vocab);
  for (size_t i = 0; i < vocab; ++i) logits[i] = std::sin(static_cast<float>(i));
  SamplerOptions options;
  options.seed = 42;
  options.repeat_penalty = 1.1f;
  std::vector<Token> runs[2];
  for (auto& run : runs) {
    auto sampler = Sampler::create(*model_, options);
    ASSERT_TRUE(sampler.is_ok());
    EXPECT_EQ((*sampler)->seed(), 42u);
    for (int i = 0; i < 20; ++i) run.push_back(*(*sampler)->sample(logits));
  }
  EXPECT_EQ(runs[0], runs[1]);
}

}  // namespace
}  // namespace heed
