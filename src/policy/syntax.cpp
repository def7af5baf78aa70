#include "policy/syntax.h"

#include "base/in_quotes.h"
#include "base/text.h"

namespace heed {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A + behind the e of a number.
bool in_exponent(std::string_view text, size_t at) {
  return at >= 2 && at + 1 < text.size() && (text[at - 1] == 'e' || text[at - 1] == 'E') &&
         (is_digit(text[at - 2]) || text[at - 2] == '.') && is_digit(text[at + 1]);
}

// The first separator from `at` on that is not within quotes.
size_t find_outside(std::string_view text, char separator, size_t at) {
  bool quotes = false;
  for (; at < text.size(); ++at) {
    if (quotes && text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      quotes = !quotes;
    } else if (!quotes && text[at] == separator && (separator != '+' || !in_exponent(text, at))) {
      return at;
    }
  }
  return std::string_view::npos;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = find_outside(text, separator, begin);
    parts.push_back(trimmed(text.substr(begin, end - begin)));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

bool cut(std::string_view text, char separator, std::string_view* before,
         std::string_view* behind) {
  const size_t at = find_outside(text, separator, 0);
  *before = trimmed(text.substr(0, at));
  *behind = {};
  if (at == std::string_view::npos) return false;
  *behind = trimmed(text.substr(at + 1));
  return true;
}

Status check_quotes(std::string_view text) {
  bool quotes = false;
  size_t opened = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quotes && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quotes = !quotes;
      opened = i;
    }
  }
  if (!quotes) return Status::ok();
  return error(Code::kInvalidArgument, "the quote before ", in_quotes(text.substr(opened + 1)),
               " is not closed");
}

Result<std::string> unquote(std::string_view text) {
  if (text.find('"') == std::string_view::npos) return std::string(text);
  std::string out;
  size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  if (text[0] != '"' || i + 1 != text.size()) {
    return error(Code::kInvalidArgument, in_quotes(text),
                 " has quotes in its middle; put the whole value between them");
  }
  return out;
}

std::string quote_value(std::string_view text) {
  const bool plain = !text.empty() && text == trimmed(text) &&
                     text.find_first_of("\",;+=:@\\\n") == std::string_view::npos;
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}

}  // namespace heed
