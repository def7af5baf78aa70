#include "model/grammar_program.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/nearest.h"
#include "base/text.h"

namespace heed {
namespace {

using Op = GrammarInstruction::Op;
using Steps = std::vector<GrammarInstruction>;

// As llama.cpp: a count above this is refused where it is the least and no limit where it is the
// most.
constexpr uint64_t kMostRepetitions = 2000;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Parser {
 public:
  Parser(std::string_view text, const TokenByName& token, const GrammarLimits& limits)
      : text_(text), token_(token), limits_(limits) {}

  Result<GrammarProgram> parse() {
    if (text_.size() > limits_.text) {
      return error(Code::kOutOfRange, "grammar of ", text_.size(), " bytes; at most ",
                   limits_.text);
    }
    space(true);
    while (!at_end()) HEED_TRY(rule());
    return link();
  }

 private:
  // --- text
  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  template <class... Args>
  Status fault_at(size_t where, const Args&... args) const {
    const std::string_view before = text_.substr(0, std::min(where, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t start = before.rfind('\n') + 1;  // npos + 1 = 0
    return error(Code::kInvalidArgument, "grammar, line ", line, ", column ", where - start + 1,
                 ": ", args...);
  }
  template <class... Args>
  Status fault(const Args&... args) const {
    return fault_at(at_, args...);
  }
  std::string here() const {
    if (at_end()) return "the end";
    const std::string_view rest = text_.substr(at_, 16);
    return cat("'", rest.substr(0, rest.find_first_of("\r\n")), "'");
  }

  void space(bool newlines) {
    for (; !at_end(); ++at_) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\r' && peek() != '\n') ++at_;
        --at_;  // the line's end is looked at next
      } else if (c != ' ' && c != '\t' && !(newlines && (c == '\r' || c == '\n'))) {
        return;
      }
    }
  }

  std::string_view word() {
    const size_t start = at_;
    while (is_word(peek())) ++at_;
    return text_.substr(start, at_ - start);
  }

  Result<uint32_t> hex(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const int digit = at_end() ? -1 : hex_value(peek());
      if (digit < 0) return fault("expected ", digits, " hexadecimal digits, found ", here());
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    if (value > 0x10FFFF) return fault("no character has the number ", value);
    return value;
  }

  Result<uint32_t> escape() {
    const char c = peek(1);
    const size_t start = at_;
    at_ += 2;
    switch (c) {
      case 'x': return hex(2);
      case 'u': return hex(4);
      case 'U': return hex(8);
      case 't': return uint32_t{'\t'};
      case 'r': return uint32_t{'\r'};
      case 'n': return uint32_t{'\n'};
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-': return static_cast<uint32_t>(c);
      default:
        return fault_at(start, "unknown escape; known are \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\xHH ",
                        "\\uHHHH \\UHHHHHHHH");
    }
  }

  Result<uint32_t> character() {
    if (at_end()) return fault("the text ends inside a literal or a class");
    if (peek() == '\\') return escape();
    const auto lead = static_cast<uint8_t>(peek());
    if (lead < 0x80) return ++at_, uint32_t{lead};
    const size_t bytes = lead >= 0xF8 ? 0 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    uint32_t value = lead & (0x7F >> bytes);
    if (lead < 0xC2 || bytes == 0) return fault("a byte that is not UTF-8");
    for (size_t i = 1; i < bytes; ++i) {
      const auto next = static_cast<uint8_t>(peek(i));
      if (next >> 6 != 2) return fault("a byte that is not UTF-8");
      value = value << 6 | (next & 0x3F);
    }
    at_ += bytes;
    return value;
  }

  // --- rules
  uint32_t rule_number(std::string_view name, size_t where) {
    const auto [it, added] = numbers_.emplace(name, static_cast<uint32_t>(rules_.size()));
    if (added) {
      rules_.emplace_back();
      first_use_.push_back(where);
    }
    return it->second;
  }

  Status rule() {
    const size_t start = at_;
    const std::string_view name = word();
    if (name.empty()) return fault("expected the name of a rule, found ", here());
    const uint32_t number = rule_number(name, start);
    space(false);
    if (text_.substr(at_, 3) != "::=")
      return fault("expected ::= behind the name of a rule, found ", here());
    at_ += 3;
    space(true);
    HEED_ASSIGN(Steps code, alternatives(false, 0));
    if (!at_end() && peek() != '\r' && peek() != '\n') {
      return fault("expected the end of the line, found ", here());
    }
    code.push_back({.op = Op::kReturn});
    rules_[number] = std::move(code);
    space(true);
    return Status::ok();
  }

  // A | B | C is  split  A  jump  split  B  jump  C.
  Result<Steps> alternatives(bool nested, int depth) {
    HEED_ASSIGN(Steps first, sequence(nested, depth));
    std::vector<Steps> all;
    all.push_back(std::move(first));
    while (peek() == '|') {
      ++at_;
      space(true);
      HEED_ASSIGN(Steps next, sequence(nested, depth));
      all.push_back(std::move(next));
    }
    size_t size = 2 * (all.size() - 1);
    for (const Steps& part : all) size += part.size();
    Steps out;
    out.reserve(size);
    for (size_t i = 0; i < all.size(); ++i) {
      const bool last = i + 1 == all.size();
      if (!last) out.push_back(jump(Op::kSplit, all[i].size() + 2));
      out.insert(out.end(), all[i].begin(), all[i].end());
      if (!last) out.push_back(jump(Op::kJump, size - out.size()));
    }
    return out;
  }

  static GrammarInstruction jump(Op op, size_t by) {
    return {.op = op, .jump = static_cast<int32_t>(by)};
  }

  Result<Steps> sequence(bool nested, int depth) {
    Steps code;
    std::optional<size_t> item;  // start of what a repetition repeats
    for (;; space(nested)) {
      const char c = peek();
      if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (!item) return fault("nothing stands before this repetition");
        HEED_TRY(repetition(code, *item, nested));
        continue;
      }
      const size_t start = code.size();
      if (c == '"') {
        HEED_TRY(literal(code));
      } else if (c == '[') {
        HEED_TRY(char_class(code));
      } else if (c == '<' || c == '!') {
        HEED_TRY(token(code));
      } else if (c == '.') {
        ++at_;
        code.push_back({.op = Op::kRange, .a = 0, .b = UINT32_MAX});
      } else if (c == '(') {
        HEED_TRY(group(code, depth));
      } else if (is_word(c)) {
        const size_t where = at_;
        code.push_back({.op = Op::kCall, .a = rule_number(word(), where)});
      } else {
        return code;
      }
      item = start;
      HEED_TRY(wrote(code.size() - start));
    }
  }

  Status group(Steps& code, int depth) {
    if (depth == limits_.depth) {
      return fault("more than ", limits_.depth, " parentheses inside each other");
    }
    ++at_;
    space(true);
    HEED_ASSIGN(const Steps inner, alternatives(true, depth + 1));
    if (peek() != ')') return fault("expected ')', found ", here());
    ++at_;
    code.insert(code.end(), inner.begin(), inner.end());
    return Status::ok();
  }

  Status literal(Steps& code) {
    for (++at_; peek() != '"' || at_end();) {
      HEED_ASSIGN(const uint32_t c, character());
      code.push_back({.op = Op::kRange, .a = c, .b = c});
    }
    ++at_;
    return Status::ok();
  }

  Status char_class(Steps& code) {
    const size_t start = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    const size_t first = ranges_.size();
    while (peek() != ']' || at_end()) {
      HEED_ASSIGN(const uint32_t low, character());
      uint32_t high = low;
      if (peek() == '-' && peek(1) != ']') {
        ++at_;
        HEED_ASSIGN(high, character());
      }
      ranges_.push_back({low, high});
    }
    ++at_;
    const size_t count = ranges_.size() - first;
    if (count == 0) return fault_at(start, "a class without a character; write . for any");
    if (count == 1 && !negated) {
      code.push_back({.op = Op::kRange, .a = ranges_[first].low, .b = ranges_[first].high});
      ranges_.pop_back();
      return Status::ok();
    }
    code.push_back({.op = Op::kSet,
                    .negated = negated,
                    .a = static_cast<uint32_t>(first),
                    .b = static_cast<uint32_t>(count)});
    return Status::ok();
  }

  Status token(Steps& code) {
    const size_t start = at_;
    const bool negated = peek() == '!';
    if (negated) ++at_;
    const size_t end = text_.find('>', at_);
    if (peek() != '<' || end == std::string_view::npos) return fault_at(start, "expected <token>");
    const Result<Token> found = token_(text_.substr(at_, end + 1 - at_));
    if (!found.is_ok()) return fault_at(start, found.message());
    at_ = end + 1;
    code.push_back({.op = Op::kToken, .negated = negated, .a = static_cast<uint32_t>(*found)});
    return Status::ok();
  }

  // --- repetitions
  Result<uint64_t> count() {
    const size_t start = at_;
    uint64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = std::min<uint64_t>(10 * value + static_cast<uint64_t>(peek() - '0'), 1 << 30);
    }
    if (at_ == start) return fault("expected a number, found ", here());
    return value;
  }

  Status repetition(Steps& code, size_t item, bool nested) {
    const size_t start = at_;
    const char sign = text_[at_++];
    uint64_t least = sign == '+' ? 1 : 0;
    std::optional<uint64_t> most;
    if (sign == '?') most = 1;
    if (sign == '{') {
      space(nested);
      HEED_ASSIGN(least, count());
      space(nested);
      most = least;
      if (peek() == ',') {
        ++at_;
        space(nested);
        most.reset();
        if (peek() >= '0' && peek() <= '9') {
          HEED_ASSIGN(most, count());
        }
        space(nested);
      }
      if (peek() != '}') return fault("expected '}', found ", here());
      ++at_;
    }
    if (least > kMostRepetitions) {
      return fault_at(start, least, " repetitions; at most ", kMostRepetitions);
    }
    if (most.value_or(least) < least) {
      return fault_at(start, "at most ", most.value_or(0), " is less than ", least);
    }
    if (most.value_or(0) > kMostRepetitions) most.reset();
    return repeat(code, item, least, most);
  }

  Status repeat(Steps& code, size_t item, uint64_t least, std::optional<uint64_t> most) {
    const Steps once(code.begin() + static_cast<int64_t>(item), code.end());
    const uint64_t optional = most ? *most - least : 1;
    HEED_TRY(wrote((once.size() + 2) * (least + optional)));
    code.resize(item);
    const auto append = [&] { code.insert(code.end(), once.begin(), once.end()); };
    for (uint64_t i = 0; i < least; ++i) append();
    if (!most) {  // split  once  jump back
      code.push_back(jump(Op::kSplit, once.size() + 2));
      append();
      code.push_back({.op = Op::kJump, .jump = -static_cast<int32_t>(once.size() + 1)});
      return Status::ok();
    }
    for (uint64_t left = optional; left > 0; --left) {
      code.push_back(jump(Op::kSplit, left * (once.size() + 1)));
      append();
    }
    return Status::ok();
  }

  // Repetitions multiply and groups are copied: what was ever written bounds what is held.
  Status wrote(size_t steps) {
    written_ += steps;
    if (written_ <= limits_.instructions) return Status::ok();
    return fault("the grammar with its repetitions written out has more than ",
                 limits_.instructions, " steps; use fewer or smaller ones");
  }

  // --- the whole
  Result<GrammarProgram> link() {
    // Names that a person typed: comparing them costs their lengths' product.
    constexpr size_t kLongestName = 64, kMostNames = 1000;
    std::vector<std::string> names;
    for (const auto& [name, number] : numbers_) {
      if (rules_[number].empty() || name.size() > kLongestName) continue;
      if (names.size() < kMostNames) names.push_back(name);
    }
    for (const auto& [name, number] : numbers_) {
      if (!rules_[number].empty()) continue;
      const std::string shown = name.substr(0, kLongestName);
      const std::string near = nearest_name(shown, names);
      return fault_at(first_use_[number], "the rule '", shown, "' is defined nowhere",
                      near.empty() ? "" : cat("; did you mean '", near, "'?"));
    }
    const auto root = numbers_.find("root");
    if (root == numbers_.end()) {
      return Status(Code::kInvalidArgument,
                    "grammar: no rule 'root' (root ::= ...), which says what the answer is");
    }
    GrammarProgram out;
    out.root = root->second;
    out.ranges = std::move(ranges_);
    for (Steps& rule : rules_) {
      out.entry.push_back(static_cast<uint32_t>(out.code.size()));
      out.code.insert(out.code.end(), rule.begin(), rule.end());
    }
    for (size_t pc = 0; pc < out.code.size(); ++pc) {
      if (out.code[pc].op == Op::kCall && returns(out.code, pc + 1)) {
        out.code[pc].op = Op::kTailCall;
      }
    }
    return out;
  }

  // Every jump that is not behind a split leads forward, or back to a split.
  static bool returns(const Steps& code, size_t pc) {
    while (code[pc].op == Op::kJump) pc += static_cast<size_t>(code[pc].jump);
    return code[pc].op == Op::kReturn;
  }

  std::string_view text_;
  const TokenByName& token_;
  const GrammarLimits limits_;
  size_t at_ = 0;
  size_t written_ = 0;
  std::map<std::string, uint32_t, std::less<>> numbers_;
  std::vector<Steps> rules_;
  std::vector<size_t> first_use_;
  std::vector<CharRange> ranges_;
};

}  // namespace

Result<GrammarProgram> GrammarProgram::parse(std::string_view text, const TokenByName& token,
                                             const GrammarLimits& limits) {
  return Parser(text, token, limits).parse();
}

bool GrammarProgram::matches(const GrammarInstruction& at, uint32_t character) const {
  if (at.op == Op::kRange) return at.a <= character && character <= at.b;
  if (at.op != Op::kSet) return false;
  const auto* first = ranges.data() + at.a;
  const bool held =
      std::any_of(first, first + at.b, [&](const CharRange& r) { return r.holds(character); });
  return held != at.negated;
}

bool GrammarProgram::matches_some(const GrammarInstruction& at, uint32_t low, uint32_t high) const {
  if (at.op == Op::kRange) return at.a <= high && low <= at.b;
  if (at.op != Op::kSet) return false;
  // llama.cpp's answer: a negated set that touches the interval anywhere takes none of it.
  const auto* first = ranges.data() + at.a;
  const bool touches = std::any_of(
      first, first + at.b, [&](const CharRange& r) { return r.low <= high && low <= r.high; });
  return touches != at.negated;
}

}  // namespace heed
