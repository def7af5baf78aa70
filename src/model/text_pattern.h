// Regular expressions that cut text into words, in time and memory proportional to the text.
//
// A backtracking matcher of the usual kind (std::regex) takes stack for every character of a word
// and may take quadratic time. This one gives the same matches (leftmost, first alternative that
// works, as many repetitions as possible), with its choices on the heap, and never tries twice what
// failed once: whether a choice at a position leads to a match depends on nothing before it, as
// there are no groups to refer back to.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "heed/status.h"

namespace heed {

// Characters as numbers: code points, or the collapsed bytes of text_cutter.cpp.
class CharacterSet {
 public:
  void add(char32_t first, char32_t last);
  void add(const CharacterSet& other);
  void invert();
  bool contains(char32_t c) const {
    return c < kLow ? low_[c] : (contains_high(c) != high_inverted_);
  }

 private:
  static constexpr char32_t kLow = 256;
  bool contains_high(char32_t c) const;

  std::bitset<kLow> low_;
  std::vector<std::pair<char32_t, char32_t>> high_;
  bool high_inverted_ = false;
};

class TextPattern {
 public:
  // The part of ECMAScript's syntax that tokenizers use: characters, sets, groups, alternatives,
  // greedy repetitions, lookahead and `$`; anything else is an error that names it. \p{L}, \p{M},
  // \p{N}, \p{P} and \p{S} stand for their ASCII members and the byte that text_cutter.cpp puts
  // for all others. A pattern that may match nothing must always match nothing.
  static Result<TextPattern> parse(std::u32string_view pattern);

  // Appends the lengths of the matches in `text` and of what lies between them, in order.
  void cut(std::u32string_view text, std::vector<size_t>& lengths) const;

 private:
  friend class TextPatternBuilder;
  friend class TextMatcher;

  // What consumes a character, or chooses; `a` and `b` are indices of steps where not said else.
  struct Step {
    enum Kind : uint8_t { kSet, kSplit, kJump, kTextEnd, kLook, kMatch };
    Kind kind;
    bool negated = false;  // kLook
    uint8_t choice = 0;    // kSplit: its number
    int a = 0;  // kSet: index into sets_; kSplit: tried first; kJump: to; kLook: its body
    int b = 0;  // kSplit: tried second; kLook: behind it
  };

  static constexpr int kMostChoices = 64;  // bits of a word

  std::vector<Step> steps_;
  std::vector<CharacterSet> sets_;
};

}  // namespace heed
