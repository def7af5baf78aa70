// Words of byte-pair tokenizers: llama.cpp's own wherever its std::regex survives, and no text that
// ends the process.
#include "model/text_cutter.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "cutter_texts.h"
#include "model/text_pattern.h"

namespace heed {
namespace {

TEST(TextCutter, words_of_random_texts_are_those_of_llama_cpp) {
  std::mt19937 random(1);
  const tiny::Cutters cutters = tiny::every_cutter();
  EXPECT_GE(cutters.size(), 25u);
  for (const auto& [patterns, cutter] : cutters) {
    for (int i = 0; i < 150; ++i) {
      const std::string text = tiny::random_text(random, 1 + random() % 60);
      for (const bool byte_encode : {false, true}) {
        ASSERT_EQ(cut_words(text, patterns, byte_encode),
                  llama_cut_words(text, patterns, byte_encode))
            << cutter.pre << ": " << testing::PrintToString(text);
      }
    }
  }
}

// Long enough for llama.cpp's repetitions, short enough for its stack.
TEST(TextCutter, words_of_uniform_texts_are_those_of_llama_cpp) {
  for (const auto& [patterns, cutter] : tiny::every_cutter()) {
    for (const std::string& piece : tiny::text_pieces()) {
      const std::string text = tiny::repeated(piece, 700) + "x";
      ASSERT_EQ(cut_words(text, patterns, true), llama_cut_words(text, patterns, true))
          << cutter.pre << ": " << testing::PrintToString(piece);
    }
  }
}

TEST(TextCutter, a_pattern_that_is_not_known_is_named) {
  for (const char* pattern :
       {"(a", "a)",    "[a",      "a**",     "a+?",    "a++",     "^a",
        ".",  "\\w+",  "\\bword", "(?<=a)b", "a{2,1}", "a{9999}", "\\p{Greek}",
        "a*", "[z-a]", "[\\S]",   "[a-\\s]", "(a?)+",  "\\",      "*"}) {
    EXPECT_THROW(cut_words("text", {pattern}, true), std::runtime_error) << pattern;
  }
}

TEST(TextPattern, matches_are_those_of_the_formula) {
  struct Case {
    std::u32string_view pattern, text;
    std::vector<size_t> lengths;
  };
  const Case cases[] = {
      {U"a|ab", U"abab", {1, 1, 1, 1}},    // the first alternative, not the longest
      {U"(?:ab|a)b", U"abab", {2, 2}},     // gives back
      {U"a{2,3}", U"aaaaaaa", {3, 3, 1}},  // as many as possible
      {U"\\s+(?!\\S)|\\s+", U"   x ", {2, 1, 1, 1}},
      {U"\\s+$", U"  x  ", {3, 2}},
      {U"(?=(\\d{3})+(?!\\d))", U"12345", {2, 0, 3}},
      {U"[^a-c\\]]+", U"xyabz]", {2, 2, 1, 1}},
      {U"\\p{Lu}+", U"a\u00D2b", {3}},  // a letter beyond ASCII, collapsed
  };
  for (const Case& c : cases) {
    const auto pattern = TextPattern::parse(c.pattern);
    ASSERT_TRUE(pattern.is_ok()) << pattern.message();
    std::vector<size_t> lengths;
    pattern->cut(c.text, lengths);
    EXPECT_EQ(lengths, c.lengths) << &c - cases;
    EXPECT_EQ(std::accumulate(lengths.begin(), lengths.end(), size_t{0}), c.text.size());
  }
}

}  // namespace
}  // namespace heed
