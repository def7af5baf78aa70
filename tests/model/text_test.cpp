// The text side: hostile vocabularies, chat templates, the sampler chain.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "base/text.h"
#include "gguf.h"
#include "heed/engine.h"
#include "model/pull.h"
#include "model/sampler.h"
#include "model/tokenizer.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

struct Vocabulary {
  gguf_context* file = gguf_init_empty();
  ~Vocabulary() { gguf_free(file); }
  Vocabulary(const char* kind, std::vector<const char*> tokens) {
    gguf_set_val_str(file, "tokenizer.ggml.model", kind);
    gguf_set_val_str(file, "tokenizer.ggml.pre", "gpt-2");
    gguf_set_arr_str(file, "tokenizer.ggml.tokens", tokens.data(), tokens.size());
  }
};

TEST(vocabulary, what_would_stop_llama_cpp_is_refused_before_it_sees_the_file) {
  EXPECT_TRUE(check_vocabulary(Vocabulary("gpt2", {"a", "b", ""}).file).is_ok());
  EXPECT_TRUE(check_vocabulary(Vocabulary("no_vocab", {"a", "a"}).file).is_ok());
  EXPECT_EQ(check_vocabulary(Vocabulary("gpt2", {"a", "b", "a"}).file).code(), Code::kCorrupt);
  EXPECT_EQ(check_vocabulary(Vocabulary("gpt2", {"[EMPTY_1]", ""}).file).code(), Code::kCorrupt);
  EXPECT_EQ(check_vocabulary(Vocabulary("bert", {"a"}).file).code(), Code::kUnsupported);
  Vocabulary no_text("llama", {"a"});
  gguf_set_val_u32(no_text.file, "tokenizer.ggml.tokens", 7);
  EXPECT_EQ(check_vocabulary(no_text.file).code(), Code::kCorrupt);
  Vocabulary wrong_kind("gpt2", {"a"});
  gguf_set_val_u32(wrong_kind.file, "tokenizer.ggml.model", 7);
  EXPECT_EQ(check_vocabulary(wrong_kind.file).code(), Code::kCorrupt);
}

// A tiny model whose byte-pair tokenizer cuts text as `pre` says.
tiny::File byte_pair_file(const std::string& pre) {
  tiny::Spec spec;
  spec.vocab = 128;
  tiny::File file = tiny::make_file(spec);
  std::vector<std::string> tokens = {"<end>"};
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), {"\u0120", "\u010A", "--"});  // space, line end, a merge
  while (tokens.size() < 128) tokens.push_back(cat("w", tokens.size()));
  file.set(tiny::text_key("tokenizer.ggml.model", "gpt2"));
  file.set(tiny::text_key("tokenizer.ggml.pre", pre));
  file.set(tiny::texts_key("tokenizer.ggml.tokens", tokens));
  file.set(tiny::texts_key("tokenizer.ggml.merges", {"- -"}));
  file.set(tiny::u32_key("tokenizer.ggml.bos_token_id", 0));
  file.set(tiny::u32_key("tokenizer.ggml.eos_token_id", 0));
  return file;
}

TEST(vocabulary, one_character_repeated_does_not_end_the_process) {
  for (const char* pre :
       {"gpt-2",     "qwen2",     "deepseek-r1-qwen", "stablelm2", "llama3",     "llama-v3",
        "llama-bpe", "falcon3",   "falcon-h1",        "pixtral",   "smollm",     "starcoder",
        "refact",    "command-r", "codeshell",        "exaone",    "minerva-7b", "mpt",
        "olmo",      "jais",      "qwen35",           "smaug-bpe", "dbrx"}) {
    const tiny::TemporaryFile file(byte_pair_file(pre));
    const auto vocabulary = load_vocabulary(file.path());
    ASSERT_TRUE(vocabulary.is_ok()) << pre << ": " << vocabulary.message();
    for (const char c : {'-', 'a', '7', ' ', '\n'}) {
      const size_t n = c == '-' && std::string(pre) == "smollm" ? 1u << 20 : 60'000;
      const auto tokens = tokenize(vocabulary->get(), std::string(n, c), false, false);
      ASSERT_TRUE(tokens.is_ok()) << pre << ": " << tokens.message();
      EXPECT_GE(tokens->size(), n / 2) << pre << " '" << c << "'";
    }
  }
}

TEST(vocabulary, cutters_that_take_stack_for_every_character_are_refused_with_the_list) {
  for (const char* pre :
       {"default", "deepseek-llm", "deepseek-v3", "tekken", "falcon", "unheard"}) {
    const tiny::TemporaryFile file(byte_pair_file(pre));
    const auto vocabulary = load_vocabulary(file.path());
    ASSERT_EQ(vocabulary.code(), Code::kUnsupported) << pre;
    EXPECT_NE(vocabulary.message().find(pre), std::string::npos) << vocabulary.message();
    EXPECT_NE(vocabulary.message().find("smollm"), std::string::npos) << vocabulary.message();
  }
}

TEST(chat_template, one_that_never_ends_or_recurses_or_floods_is_an_error) {
  const ChatMessage turn{"user", "needle"};
  tiny::File file = byte_pair_file("smollm");
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

TEST(sampler_options, names_and_ranges_are_refused_with_the_way_out) {
  SamplerOptions o;
  EXPECT_TRUE(check_sampler(o).is_ok());
  o.samplers = {"penalties", "top-k", "temp"};
  EXPECT_TRUE(check_sampler(o).is_ok());
  o.samplers = {"top_kk"};
  EXPECT_NE(check_sampler(o).message().find("did you mean 'top_k'"), std::string::npos);
  o = {};
  o.top_p = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(check_sampler(o).code(), Code::kOutOfRange);
  o = {};
  o.repeat_last_n = -2;
  EXPECT_EQ(check_sampler(o).code(), Code::kOutOfRange);
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
  for (const Token t : *tokens) back += model_->piece(t);
  EXPECT_EQ(back, text);
  EXPECT_EQ(model_->piece(-1), "");
  EXPECT_EQ(model_->piece(model_->info().vocab), "");
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
    EXPECT_EQ((*sampler)->sample(logits), static_cast<Token>(at));
  }
}

TEST_F(Text, a_seed_repeats_its_choices_and_broken_logits_do_not_stop_the_process) {
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
    for (int i = 0; i < 20; ++i) run.push_back((*sampler)->sample(logits));
    std::vector<float> broken(vocab, std::numeric_limits<float>::quiet_NaN());
    const Token token = (*sampler)->sample(broken);
    EXPECT_TRUE(token >= 0 && token < static_cast<Token>(vocab));
    (*sampler)->accept(-1);
    (*sampler)->accept(static_cast<Token>(vocab));
  }
  EXPECT_EQ(runs[0], runs[1]);
}

}  // namespace
}  // namespace heed
