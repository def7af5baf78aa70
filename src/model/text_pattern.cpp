#include "model/text_pattern.h"

#include <algorithm>
#include <optional>

namespace heed {

void CharacterSet::add(char32_t first, char32_t last) {
  for (char32_t c = first; c <= last && c < kLow; ++c) low_.set(c);
  if (last >= kLow) high_.emplace_back(std::max(first, kLow), last);
}

void CharacterSet::add(const CharacterSet& other) {
  low_ |= other.low_;
  high_.insert(high_.end(), other.high_.begin(), other.high_.end());
}

void CharacterSet::invert() {
  low_.flip();
  high_inverted_ = !high_inverted_;
}

bool CharacterSet::contains_high(char32_t c) const {
  return std::any_of(high_.begin(), high_.end(),
                     [c](const auto& range) { return range.first <= c && c <= range.second; });
}

// One pattern over one text.
class TextMatcher {
 public:
  TextMatcher(const TextPattern& pattern, std::u32string_view text)
      : pattern_(pattern), text_(text), failed_(text.size() + 1) {}

  // The end of the match that begins at `start`.
  std::optional<size_t> match(size_t start) {
    path_.clear();
    forks_.clear();
    return run(0, start);
  }

 private:
  using Step = TextPattern::Step;

  struct Choice {  // a split that was reached at a position
    size_t position;
    uint64_t bit;
  };
  struct Fork {  // what is to be tried when everything behind it failed
    int step;
    size_t position;
    size_t path;  // length of path_ up to the split itself
  };

  void mark(std::vector<uint64_t>& known, size_t from) {
    for (size_t i = from; i < path_.size(); ++i) known[path_[i].position] |= path_[i].bit;
    path_.resize(from);
  }

  // A lookahead need not go on from where another one passed: its end is of no interest.
  bool look(int body, size_t position) {
    ++looking_;
    const bool found = run(body, position).has_value();
    --looking_;
    return found;
  }

  // Nothing when no way leads from `step` to a match. Recursion is as deep as lookaheads nest in
  // the pattern.
  std::optional<size_t> run(int step, size_t position) {
    const size_t first_fork = forks_.size();
    const size_t first_choice = path_.size();
    while (true) {
      const Step& s = pattern_.steps_[step];
      bool fits = true;
      switch (s.kind) {
        case Step::kSet:
          fits = position < text_.size() && pattern_.sets_[s.a].contains(text_[position]);
          ++position;
          ++step;
          break;
        case Step::kTextEnd:
          fits = position == text_.size();
          ++step;
          break;
        case Step::kJump: step = s.a; break;
        case Step::kLook:
          fits = look(s.a, position) != s.negated;
          step = s.b;
          break;
        case Step::kSplit: {
          const uint64_t bit = uint64_t{1} << s.choice;
          if (!succeeded_.empty() && (succeeded_[position] & bit) != 0) {
            return end_of_look(first_fork, first_choice, position);
          }
          fits = (failed_[position] & bit) == 0;
          if (!fits) break;
          path_.push_back({position, bit});
          forks_.push_back({s.b, position, path_.size()});
          step = s.a;
          break;
        }
        case Step::kMatch:
          if (looking_ > 0) return end_of_look(first_fork, first_choice, position);
          return position;
      }
      if (fits) continue;
      if (forks_.size() == first_fork) {
        mark(failed_, first_choice);
        return std::nullopt;
      }
      mark(failed_, forks_.back().path);
      step = forks_.back().step;
      position = forks_.back().position;
      forks_.pop_back();
    }
  }

  size_t end_of_look(size_t first_fork, size_t first_choice, size_t position) {
    if (path_.size() > first_choice && succeeded_.empty()) succeeded_.resize(text_.size() + 1);
    mark(succeeded_, first_choice);
    forks_.resize(first_fork);
    return position;
  }

  const TextPattern& pattern_;
  std::u32string_view text_;
  std::vector<uint64_t> failed_;     // [position]: bits of the choices that lead nowhere
  std::vector<uint64_t> succeeded_;  // the same for choices in a lookahead that fit
  std::vector<Choice> path_;         // the choices on the way to where the matcher stands
  std::vector<Fork> forks_;
  int looking_ = 0;  // lookaheads around where it stands
};

void TextPattern::cut(std::u32string_view text, std::vector<size_t>& lengths) const {
  TextMatcher matcher(*this, text);
  size_t done = 0;  // up to here lengths are given
  for (size_t start = 0; start < text.size();) {
    const std::optional<size_t> end = matcher.match(start);
    if (!end) {
      ++start;
      continue;
    }
    if (start > done) lengths.push_back(start - done);
    lengths.push_back(*end - start);
    done = *end;
    start = std::max(*end, start + 1);  // an empty match is taken once
  }
  if (done < text.size()) lengths.push_back(text.size() - done);
}

}  // namespace heed
