// Files of encoders: WordPiece against llama.cpp's tokens, and what is refused.
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "heed/model.h"
#include "model/hyperparameters.h"
#include "model/model_impl.h"
#include "model/tokenizer.h"
#include "model/weight_uses.h"
#include "tiny_encoder.h"

namespace heed {
namespace {

using tiny::File;

File changed(const std::function<void(File&)>& edit, tiny::EncoderSpec spec = {}) {
  File file = tiny::make_encoder(spec);
  edit(file);
  return file;
}

Status load(const File& file) {
  const tiny::TemporaryFile written(file);
  const auto model = Model::load(written.path(), {});
  return model.is_ok() ? Status::ok() : model.status();
}

tiny::EncoderSpec with_words() {
  tiny::EncoderSpec spec;
  spec.word_piece = true;
  return spec;
}

std::vector<std::string> pieces(const Model& model, const std::string& text) {
  const auto tokens = model.tokenize(text, true, true);
  EXPECT_TRUE(tokens.is_ok()) << tokens.message();
  std::vector<std::string> names;
  const std::vector<std::string> all = tiny::word_pieces();
  for (const Token token : *tokens) names.push_back(all[static_cast<size_t>(token)]);
  return names;
}

TEST(word_piece, the_longest_pieces_make_up_a_word) {
  const tiny::TemporaryFile file(tiny::make_encoder(with_words()));
  const auto model = Model::load(file.path(), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto of = [&](const std::string& text) { return pieces(**model, text); };
  using Pieces = std::vector<std::string>;
  const std::string b = "\xE2\x96\x81";
  EXPECT_EQ(of("The red foxes!"),
            (Pieces{"[CLS]", b + "the", b + "red", b + "fox", "es", b + "!", "[SEP]"}));
  EXPECT_EQ(of("unREADable"), (Pieces{"[CLS]", b + "un", "r", "e", "a", "d", "able", "[SEP]"}));
  EXPECT_EQ(of("r\xC3\xA9"
               "d \xE7\x8B\x97 20"),
            (Pieces{"[CLS]", b + "red", "[UNK]", b + "2", "0", "[SEP]"}));
  EXPECT_EQ(of(""), (Pieces{"[CLS]", "[SEP]"}));
  EXPECT_EQ(of("[MASK] dog"), (Pieces{"[CLS]", "[MASK]", b + "dog", "[SEP]"}));
}

TEST(word_piece, any_bytes_give_the_tokens_of_llama_cpp) {
  const tiny::TemporaryFile file(tiny::make_encoder(with_words()));
  const auto model = Model::load(file.path(), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  const llama_vocab* vocab = llama_model_get_vocab((*model)->impl().vocab);
  const auto vocabulary = static_cast<Token>(tiny::word_pieces().size());
  for (uint64_t i = 0; i < 300; ++i) {
    std::string text;
    const char* const parts[] = {" ", "fox", "\xC3\xA9", "!", "\n", "[SEP]", "\xE7\x8B\x97", "s"};
    for (uint64_t n = random_below(i, 0, 40); text.size() < n;) {
      const uint64_t kind = random_below(i, 1 + text.size(), 10);
      if (kind < 8) {
        text += parts[kind];
      } else {
        text += static_cast<char>(random_below(i, 1000 + text.size(), 256));
      }
    }
    const auto ours = (*model)->tokenize(text, true, true);
    ASSERT_TRUE(ours.is_ok()) << ours.message();
    std::vector<Token> theirs(text.size() * 2 + 16);
    const int32_t n =
        llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), theirs.data(),
                       static_cast<int32_t>(theirs.size()), true, true);
    ASSERT_GE(n, 2);
    theirs.resize(static_cast<size_t>(n));
    EXPECT_EQ(*ours, theirs);
    for (const Token token : *ours) EXPECT_TRUE(token >= 0 && token < vocabulary);
  }
}

// "▁" as a piece of its own makes two tokens of each sign, which are one byte long.
TEST(word_piece, a_text_may_have_more_tokens_than_bytes) {
  const auto spec = with_words();
  File file = tiny::make_encoder(spec);
  std::vector<std::string> tokens = tiny::word_pieces();
  std::replace(tokens.begin(), tokens.end(), std::string("\xE2\x96\x81!"),
               std::string("\xE2\x96\x81"));
  std::replace(tokens.begin(), tokens.end(), std::string("able"), std::string("!"));
  file.set(tiny::texts_key("tokenizer.ggml.tokens", tokens));
  const tiny::TemporaryFile written(file);
  const auto model = Model::load(written.path(), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto all = (*model)->tokenize(std::string(100, '!'), true, true);
  ASSERT_TRUE(all.is_ok()) << all.message();
  EXPECT_EQ(all->size(), 202u);
}

TEST(word_piece, special_ids_that_the_vocabulary_lacks_are_refused) {
  for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.unknown_token_id",
                          "tokenizer.ggml.seperator_token_id"}) {
    const Status missing = load(changed([&](File& f) { f.erase(key); }, with_words()));
    EXPECT_EQ(missing.code(), Code::kCorrupt) << key;
    EXPECT_NE(missing.message().find(key), std::string::npos) << missing.message();
    const Status beyond =
        load(changed([&](File& f) { f.set(tiny::u32_key(key, 1000)); }, with_words()));
    EXPECT_EQ(beyond.code(), Code::kCorrupt) << key;
  }
}

TEST(encoder_file, the_header_says_what_it_is) {
  tiny::EncoderSpec spec;
  spec.pooling = 2;
  const tiny::TemporaryFile file(tiny::make_encoder(spec));
  const auto info = Model::inspect(file.path());
  ASSERT_TRUE(info.is_ok()) << info.message();
  EXPECT_TRUE(info->encoder);
  EXPECT_EQ(info->pooling, Pooling::kCls);
  spec.pooling = -1;
  const tiny::TemporaryFile plain(tiny::make_encoder(spec));
  EXPECT_EQ(Model::inspect(plain.path())->pooling, Pooling::kNone);
  const auto uses = list_weight_uses(file.path(), {});
  ASSERT_TRUE(uses.is_ok()) << uses.message();
  EXPECT_EQ(uses->weights.size(), tiny::make_encoder(spec).tensors.size());
}

TEST(encoder_file, a_rerankers_classifier_is_passed_over) {
  tiny::EncoderSpec spec;
  spec.classifier = true;
  spec.pooling = 4;
  const tiny::TemporaryFile file(tiny::make_encoder(spec));
  const auto info = Model::inspect(file.path());
  ASSERT_TRUE(info.is_ok()) << info.message();
  EXPECT_EQ(info->pooling, Pooling::kRank);
  EXPECT_TRUE(load(tiny::make_encoder(spec)).is_ok());
}

TEST(encoder_file, keys_that_change_the_mathematics_are_refused) {
  struct Case {
    const char* what;
    std::function<void(File&)> edit;
  };
  const Case kCases[] = {
      {"bert.attention.causal",
       [](File& f) { f.set(tiny::bool_key("bert.attention.causal", true)); }},
      {"bert.attention.causal", [](File& f) { f.erase("bert.attention.causal"); }},
      {"bert.pooling_type", [](File& f) { f.set(tiny::u32_key("bert.pooling_type", 5)); }},
      {"bert.attention.layer_norm_epsilon",
       [](File& f) { f.erase("bert.attention.layer_norm_epsilon"); }},
      {"bert.attention.sliding_window",
       [](File& f) { f.set(tiny::u32_key("bert.attention.sliding_window", 64)); }},
      {"bert.attention.max_alibi_bias",
       [](File& f) { f.set(tiny::f32_key("bert.attention.max_alibi_bias", 8)); }},
      {"bert.attention.head_count_kv",
       [](File& f) {
         f.set(tiny::array_key<uint32_t>("bert.attention.head_count_kv", tiny::kU32, {4, 2}));
       }},
      {"position_embd.weight", [](File& f) { f.set(tiny::u32_key("bert.context_length", 511)); }},
      {"token_embd_norm.bias",
       [](File& f) {
         std::erase_if(f.tensors, [](const auto& t) { return t.name == "token_embd_norm.bias"; });
       }},
      {"position_embd.weight",
       [](File& f) {
         std::erase_if(f.tensors, [](const auto& t) { return t.name == "position_embd.weight"; });
       }},
      {"blk.1.layer_output_norm.weight",
       [](File& f) {
         std::erase_if(f.tensors,
                       [](const auto& t) { return t.name == "blk.1.layer_output_norm.weight"; });
       }},
      {"output_norm.weight",
       [](File& f) { f.tensor("token_types.weight")->name = "output_norm.weight"; }},
  };
  for (const Case& c : kCases) {
    const Status status = load(changed(c.edit));
    EXPECT_FALSE(status.is_ok()) << c.what;
    EXPECT_NE(status.message().find(c.what), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace heed
