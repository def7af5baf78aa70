// Patterns as text: parsed into a tree, the tree written as steps.
#include <algorithm>
#include <iterator>
#include <string>

#include "base/text.h"
#include "model/text_pattern.h"

namespace heed {
namespace {

struct Node {
  enum Kind { kSet, kTextEnd, kSequence, kChoice, kRepeat, kLook };
  Kind kind = kSequence;
  CharacterSet set;
  int least = 0, most = 0;  // kRepeat; most -1: no end
  bool negated = false;     // kLook
  std::vector<Node> children;

  size_t least_width() const {
    size_t width = kind == kSet ? 1 : 0;
    if (kind == kTextEnd || kind == kLook) return 0;
    for (size_t i = 0; i < children.size(); ++i) {
      const size_t child = children[i].least_width();
      width = kind == kChoice && i > 0 ? std::min(width, child) : width + child;
    }
    return kind == kRepeat ? width * least : width;
  }
  bool consumes() const {
    if (kind == kSet) return true;
    return kind != kLook && std::any_of(children.begin(), children.end(),
                                        [](const Node& n) { return n.consumes(); });
  }
};

struct Category {
  char32_t letter;
  char32_t collapsed;     // the byte of all members beyond ASCII
  const char32_t* ascii;  // pairs of first and last
};
constexpr Category kCategories[] = {
    {U'N', 0xD1, U"09"}, {U'L', 0xD2, U"AZaz"},           {U'P', 0xD3, U"!#%*,/:;?@[]__{{}}"},
    {U'M', 0xD4, U""},   {U'S', 0xD5, U"$$++<>^^``||~~"},
};

class Parser {
 public:
  explicit Parser(std::u32string_view pattern) : pattern_(pattern) {}

  Result<Node> parse() {
    HEED_ASSIGN(Node node, alternatives());
    if (!done()) return unsupported("')' that closes nothing");
    if (node.least_width() == 0 && node.consumes()) return unsupported("match of no character");
    return node;
  }

 private:
  bool done() const { return at_ == pattern_.size(); }
  char32_t peek() const { return done() ? 0 : pattern_[at_]; }
  bool take(std::u32string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  Status unsupported(const char* what) const {
    return error(Code::kUnsupported, "text pattern: ", what, " at character ", at_,
                 " is not supported");
  }

  Result<Node> alternatives() {
    Node choice;
    choice.kind = Node::kChoice;
    do {
      HEED_ASSIGN(Node one, sequence());
      choice.children.push_back(std::move(one));
    } while (take(U"|"));
    if (choice.children.size() > 1) return choice;
    return std::move(choice.children.front());
  }

  Result<Node> sequence() {
    Node sequence;
    while (!done() && peek() != U'|' && peek() != U')') {
      HEED_ASSIGN(Node one, atom());
      HEED_ASSIGN(one, repeated(std::move(one)));
      sequence.children.push_back(std::move(one));
    }
    return sequence;
  }

  Result<Node> atom() {
    if (take(U"(")) return group();
    Node node;
    if (take(U"$")) {
      node.kind = Node::kTextEnd;
      return node;
    }
    node.kind = Node::kSet;
    if (take(U"[")) {
      HEED_ASSIGN(node.set, bracket());
    } else if (std::u32string_view(U"^.*+?{}])").find(peek()) != std::u32string_view::npos) {
      return unsupported("an operator");
    } else {
      HEED_ASSIGN(node.set, character());
    }
    return node;
  }

  // Behind "(".
  Result<Node> group() {
    Node look;
    const bool is_look = pattern_.substr(at_, 2) == U"?=" || pattern_.substr(at_, 2) == U"?!";
    if (is_look) {
      look.kind = Node::kLook;
      look.negated = pattern_[at_ + 1] == U'!';
      at_ += 2;
    } else if (peek() == U'?' && !take(U"?:")) {
      return unsupported("a group of this kind");
    }
    HEED_ASSIGN(Node inner, alternatives());
    if (!take(U")")) return unsupported("'(' without ')'");
    if (!is_look) return inner;
    look.children.push_back(std::move(inner));
    return look;
  }

  Result<Node> repeated(Node one) {
    Node repeat;
    repeat.kind = Node::kRepeat;
    if (take(U"?")) {
      repeat.most = 1;
    } else if (take(U"*")) {
      repeat.most = -1;
    } else if (take(U"+")) {
      repeat.least = 1;
      repeat.most = -1;
    } else if (take(U"{")) {
      HEED_ASSIGN(repeat.least, number());
      repeat.most = repeat.least;
      if (take(U",")) {
        HEED_ASSIGN(repeat.most, number());
      }
      if (!take(U"}") || repeat.most < repeat.least) return unsupported("a number of repetitions");
    } else {
      return one;
    }
    if (peek() == U'?' || peek() == U'+' || peek() == U'*') {
      return unsupported("a repetition that is not greedy");
    }
    if (one.least_width() == 0) return unsupported("a repetition of nothing");
    repeat.children.push_back(std::move(one));
    return repeat;
  }

  Result<int> number() {
    constexpr int kMost = 1000;
    int value = 0;
    const size_t start = at_;
    for (; peek() >= U'0' && peek() <= U'9' && value <= kMost; ++at_) {
      value = value * 10 + static_cast<int>(peek() - U'0');
    }
    if (at_ == start || value > kMost) return unsupported("a number of repetitions");
    return value;
  }

  // One character, or a class of them: "a", "\n", "\s", "\p{L}".
  Result<CharacterSet> character() {
    CharacterSet set;
    if (!take(U"\\")) {
      set.add(pattern_[at_], pattern_[at_]);
      ++at_;
      return set;
    }
    if (take(U"p{")) return category();
    const char32_t c = peek();
    const bool letter = (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
    switch (c) {
      case U's':
      case U'S':
        set.add(U'\t', U'\r');
        set.add(U' ', U' ');
        if (c == U'S') set.invert();
        break;
      case U'd': set.add(U'0', U'9'); break;
      case U'n': set.add(U'\n', U'\n'); break;
      case U'r': set.add(U'\r', U'\r'); break;
      case U't': set.add(U'\t', U'\t'); break;
      default:
        if (letter || done() || (c >= U'0' && c <= U'9')) return unsupported("an escape");
        set.add(c, c);
    }
    ++at_;
    return set;
  }

  // Behind "\p{". Kinds of letters count as letters.
  Result<CharacterSet> category() {
    const auto found = std::find_if(std::begin(kCategories), std::end(kCategories),
                                    [this](const Category& c) { return c.letter == peek(); });
    if (found == std::end(kCategories)) return unsupported("a category");
    ++at_;
    if (found->letter == U'L' &&
        std::u32string_view(U"ultmo").find(peek()) != std::u32string_view::npos)
      ++at_;
    if (!take(U"}")) return unsupported("a category");
    CharacterSet set;
    set.add(found->collapsed, found->collapsed);
    for (const char32_t* range = found->ascii; *range != 0; range += 2) set.add(range[0], range[1]);
    return set;
  }

  // Behind "[".
  Result<CharacterSet> bracket() {
    CharacterSet set;
    const bool inverted = take(U"^");
    while (!take(U"]")) {
      if (done()) return unsupported("'[' without ']'");
      const size_t start = at_;
      if (pattern_.substr(start, 2) == U"\\S") return unsupported("a class of all others");
      HEED_ASSIGN(const CharacterSet first, character());
      if (peek() != U'-' || pattern_.substr(at_, 2) == U"-]" || is_class(start)) {
        set.add(first);
        continue;
      }
      ++at_;
      const size_t behind = at_;
      if (done() || is_class(behind)) return unsupported("a range");
      const char32_t low = pattern_[pattern_[start] == U'\\' ? start + 1 : start];
      const char32_t high = pattern_[pattern_[behind] == U'\\' ? behind + 1 : behind];
      HEED_TRY(character().status());
      if (low > high) return unsupported("a range");
      set.add(low, high);
    }
    if (inverted) set.invert();
    return set;
  }

  // An escape other than of a mark: "\s", "\n", "\p{L}"; no end of a range.
  bool is_class(size_t at) const {
    if (pattern_[at] != U'\\' || at + 1 == pattern_.size()) return false;
    const char32_t c = pattern_[at + 1];
    return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
  }

  std::u32string_view pattern_;
  size_t at_ = 0;
};

}  // namespace

class TextPatternBuilder {
 public:
  explicit TextPatternBuilder(TextPattern& pattern) : pattern_(pattern) {}

  Status build(const Node& node) {
    write(node);
    add(Step::kMatch);
    if (choices_ <= TextPattern::kMostChoices) return Status::ok();
    return error(Code::kUnsupported, "text pattern of ", choices_, " choices; at most ",
                 TextPattern::kMostChoices);
  }

 private:
  using Step = TextPattern::Step;

  int here() const { return static_cast<int>(pattern_.steps_.size()); }
  Step& step(int i) { return pattern_.steps_[i]; }

  int add(Step::Kind kind) {
    pattern_.steps_.push_back({kind});
    return here() - 1;
  }

  // Tries what follows first; the other way is set later.
  int add_split() {
    const int at = add(Step::kSplit);
    step(at).choice = static_cast<uint8_t>(std::min(choices_++, 255));
    step(at).a = at + 1;
    return at;
  }

  void write(const Node& node) {
    switch (node.kind) {
      case Node::kSet:
        step(add(Step::kSet)).a = static_cast<int>(pattern_.sets_.size());
        pattern_.sets_.push_back(node.set);
        break;
      case Node::kTextEnd: add(Step::kTextEnd); break;
      case Node::kSequence:
        for (const Node& child : node.children) write(child);
        break;
      case Node::kChoice: write_choice(node); break;
      case Node::kRepeat: write_repeat(node); break;
      case Node::kLook: {
        const int at = add(Step::kLook);
        step(at).a = here();
        step(at).negated = node.negated;
        write(node.children.front());
        add(Step::kMatch);
        step(at).b = here();
        break;
      }
    }
  }

  void write_choice(const Node& node) {
    std::vector<int> ends;
    for (size_t i = 0; i + 1 < node.children.size(); ++i) {
      const int split = add_split();
      write(node.children[i]);
      ends.push_back(add(Step::kJump));
      step(split).b = here();
    }
    write(node.children.back());
    for (const int end : ends) step(end).a = here();
  }

  void write_repeat(const Node& node) {
    const Node& child = node.children.front();
    for (int i = 0; i < node.least; ++i) write(child);
    std::vector<int> splits;
    if (node.most < 0) {
      splits.push_back(add_split());
      write(child);
      step(add(Step::kJump)).a = splits.back();
    }
    for (int i = node.least; i < node.most; ++i) {
      splits.push_back(add_split());
      write(child);
    }
    for (const int split : splits) step(split).b = here();
  }

  TextPattern& pattern_;
  int choices_ = 0;
};

Result<TextPattern> TextPattern::parse(std::u32string_view text) {
  HEED_ASSIGN(const Node node, Parser(text).parse());
  TextPattern pattern;
  HEED_TRY(TextPatternBuilder(pattern).build(node));
  return pattern;
}

}  // namespace heed
