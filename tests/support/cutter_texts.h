// Vocabularies of every supported way to cut text into words, and texts that are hard to cut.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "model/text_cutter.h"
#include "model/tokenizer.h"
#include "model/vocabulary_rules.h"
#include "tiny_vocabulary.h"

namespace heed::tiny {

struct LoadedCutter {
  std::string pre;
  LlamaModelPtr vocabulary;
};
// By the patterns that llama.cpp cuts with: several names share them.
using Cutters = std::map<std::vector<std::string>, LoadedCutter>;

inline Cutters every_cutter() {
  Cutters cutters;
  for (const std::string_view name : cutter_names()) {
    const std::string pre(name);
    const TemporaryFile file(all_bytes_file(pre));
    auto vocabulary = load_vocabulary(file.path());
    EXPECT_TRUE(vocabulary.is_ok()) << pre << ": " << vocabulary.message();
    if (!vocabulary.is_ok()) continue;
    std::vector<std::string> patterns;
    seen_patterns = &patterns;
    EXPECT_TRUE(tokenize(vocabulary->get(), "a", false, false).is_ok()) << pre;
    seen_patterns = nullptr;
    EXPECT_FALSE(patterns.empty()) << pre << ": the linker did not put cut_words in its place";
    cutters.try_emplace(patterns, LoadedCutter{pre, std::move(*vocabulary)});
  }
  return cutters;
}

// One of every kind that patterns tell apart, and bytes that are no UTF-8.
inline const std::vector<std::string>& text_pieces() {
  static const std::vector<std::string> pieces = {"a",          "b",
                                                  "s",          "t",
                                                  "Z",          "A",
                                                  "'s",         "'LL",
                                                  "'",          " ",
                                                  " ",          "  ",
                                                  "\n",         "\r",
                                                  "\r\n",       "\t",
                                                  "\v",         "1",
                                                  "23",         "0",
                                                  ".",          ",",
                                                  "!",          "-",
                                                  "/",          "$",
                                                  "+",          "|",
                                                  "`",          "(",
                                                  ")",          "[",
                                                  "]",          "\\",
                                                  "{",          "_",
                                                  "\x01",       "\u00e9",
                                                  "\u00c9",     "\u00b5",
                                                  "\u0660",     "\u0300",
                                                  "\u094d",     "\u4e16",
                                                  "\u3042",     "\u30ab",
                                                  "\uac00",     "\u3000",
                                                  "\u00a0",     "\u2028",
                                                  "\u0085",     "\u00ab",
                                                  "\u2019",     "\uff01",
                                                  "\u3002",     "\u20ac",
                                                  "\u0e01",     "\u1100",
                                                  "\u0378",     "\u01c5",
                                                  "\u02b0",     "\u2160",
                                                  "\U00010400", "\U0001F600",
                                                  "\xff",       "\xc3",
                                                  "\xe4\xb8",   "\xed\xa0\x80",
                                                  "\U000E0001", "<sentinel:12>",
                                                  "IMGIMGABZ"};
  return pieces;
}

// Runs of one or two kinds, where repetitions give characters back.
inline std::string random_text(std::mt19937& random, size_t pieces) {
  const std::vector<std::string>& all = text_pieces();
  std::string text;
  while (pieces > 0) {
    const std::string& one = all[random() % all.size()];
    const std::string& other = all[random() % all.size()];
    for (size_t run = std::min<size_t>(pieces, 1 + random() % 6); run > 0; --run, --pieces) {
      text += random() % 3 == 0 ? other : one;
    }
  }
  return text;
}

inline std::string repeated(const std::string& unit, size_t characters) {
  std::string text;
  text.reserve(unit.size() * characters + 1);
  for (size_t i = 0; i < characters; ++i) text += unit;
  return text;
}

}  // namespace heed::tiny
