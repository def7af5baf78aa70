#include "cli/cell_width.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "base/utf8.h"
#include "cli/cell_width_table.h"

namespace heed::cli {
namespace {

constexpr char32_t kJoiner = 0x200D;

bool holds(std::span<const CellRange> table, char32_t c) {
  const auto after = std::upper_bound(table.begin(), table.end(), c,
                                      [](char32_t x, const CellRange& r) { return x < r.first; });
  return after != table.begin() && c <= std::prev(after)->last;
}

struct CodePoint {
  char32_t code = 0xFFFD;  // of a byte that is no UTF-8
  size_t bytes = 1;
};

CodePoint code_point(std::string_view text) {
  const int n = utf8_character(text);
  const auto first = static_cast<unsigned char>(text[0]);
  if (n <= 0) return {};
  if (n == 1) return {first, 1};
  CodePoint out{first & (0x7Fu >> n), static_cast<size_t>(n)};
  for (size_t i = 1; i < out.bytes; ++i) {
    out.code = out.code << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
  }
  return out;
}

// The beginning of the code point in front of `at`, which is not 0.
size_t step_back(std::string_view text, size_t at) {
  size_t back = std::min<size_t>(at, 4);
  while (back > 1 && code_point(text.substr(at - back)).bytes != back) --back;
  return at - back;
}

}  // namespace

int cells_of(char32_t c) { return holds(kNoCell, c) ? 0 : holds(kTwoCells, c) ? 2 : 1; }

int display_width(std::string_view text) {
  int cells = 0;
  while (!text.empty()) {
    const CodePoint c = code_point(text);
    cells += cells_of(c.code);
    text.remove_prefix(c.bytes);
  }
  return cells;
}

size_t next_character(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  at += code_point(text.substr(at)).bytes;
  while (at < text.size()) {
    const CodePoint c = code_point(text.substr(at));
    if (cells_of(c.code) > 0) break;
    at += c.bytes;
    if (c.code == kJoiner && at < text.size()) at += code_point(text.substr(at)).bytes;
  }
  return at;
}

size_t previous_character(std::string_view text, size_t at) {
  while (at > 0) {
    at = step_back(text, at);
    if (at == 0 || cells_of(code_point(text.substr(at)).code) == 0) continue;
    if (code_point(text.substr(step_back(text, at))).code != kJoiner) break;
  }
  return at;
}

}  // namespace heed::cli
