// A million equal characters, for every way to cut text into words: tokens that spell the text.
#include <gtest/gtest.h>

#include "cutter_texts.h"
#include "llama.h"

namespace heed {
namespace {

std::string text_of(const llama_model* model, const std::vector<Token>& tokens) {
  const llama_vocab* vocab = llama_model_get_vocab(model);
  std::string text;
  char piece[64];
  for (const Token t : tokens) {
    const int n = llama_token_to_piece(vocab, t, piece, sizeof(piece), 0, true);
    if (n > 0) text.append(piece, static_cast<size_t>(n));
  }
  return text;
}

TEST(LongText, a_million_equal_characters_round_trip) {
  constexpr size_t kCharacters = 1'000'000;
  for (const auto& [patterns, cutter] : tiny::every_cutter()) {
    for (const char* unit : {"a", "A", "7", " ", "\n", "-", "\u4e16", "\u0300", "\u00e9"}) {
      const std::string text = tiny::repeated(unit, kCharacters) + "x";
      const auto tokens = tokenize(cutter.vocabulary.get(), text, false, false);
      ASSERT_TRUE(tokens.is_ok()) << cutter.pre << ": " << tokens.message();
      EXPECT_TRUE(text_of(cutter.vocabulary.get(), *tokens) == text)
          << cutter.pre << ": " << testing::PrintToString(unit);
    }
    const auto tokens =
        tokenize(cutter.vocabulary.get(), tiny::repeated("\xff", kCharacters), false, false);
    ASSERT_TRUE(tokens.is_ok()) << cutter.pre << ": " << tokens.message();
    EXPECT_EQ(text_of(cutter.vocabulary.get(), *tokens), tiny::repeated("\uFFFD", kCharacters));
  }
}

}  // namespace
}  // namespace heed
