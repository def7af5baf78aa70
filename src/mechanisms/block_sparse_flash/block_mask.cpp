#include "mechanisms/block_sparse_flash/block_mask.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"

namespace heed {
namespace {

constexpr int kMostHeads = 65535;

struct Span {
  int32_t first = 0, last = 0;
};

std::string_view trimmed(std::string_view s) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!s.empty() && space(s.front())) s.remove_prefix(1);
  while (!s.empty() && space(s.back())) s.remove_suffix(1);
  return s;
}

// The text in front of the first of `ends`, which it and `rest` lose.
std::string_view cut(std::string_view& rest, std::string_view ends) {
  const size_t at = std::min(rest.find_first_of(ends), rest.size());
  const std::string_view piece = rest.substr(0, at);
  rest.remove_prefix(std::min(rest.size(), at + 1));
  return trimmed(piece);
}

std::optional<int32_t> number(std::string_view s) {
  int32_t value = 0;
  const auto [end, failed] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || failed != std::errc() || end != s.data() + s.size()) return {};
  return value;
}

}  // namespace

class BlockMaskParser {
 public:
  BlockMaskParser(std::string_view text, std::string_view name) : rest_(text), name_(name) {}

  Result<BlockMask> run() {
    bool begun = false;
    while (!rest_.empty()) {
      std::string_view line = cut(rest_, "\n");
      ++line_;
      line = trimmed(line.substr(0, line.find('#')));
      if (line.empty()) continue;
      if (begun) {
        HEED_TRY(read(line));
      } else if (line != "heed-block-mask 1") {
        return wrong("the file begins with '", shown(line), "', must be 'heed-block-mask 1'");
      }
      begun = true;
    }
    if (!begun) return wrong("there is no 'heed-block-mask 1'; the file is empty");
    if (mask_.query_tokens_ == 0) return wrong("there is no 'block ROWS KEYS'");
    return std::move(mask_);
  }

 private:
  template <class... Args>
  Status wrong(const Args&... args) const {
    return error(Code::kInvalidArgument, name_, ": line ", line_, ": ", args...);
  }
  static std::string_view shown(std::string_view s) { return s.substr(0, 40); }

  Status read(std::string_view line) {
    if (line.find(':') != std::string_view::npos) return read_row(line);
    std::string_view rest = line;
    const std::string_view word = cut(rest, " \t");
    rest = trimmed(rest);
    if (word == "block") return read_block(rest);
    if (word == "rest") return read_rest(rest);
    if (word == "heads") return read_heads(rest);
    return wrong("'", shown(line), "', must be block, rest, heads or QUERY: KEYS");
  }

  Status read_block(std::string_view rest) {
    if (mask_.query_tokens_ > 0) return wrong("a second 'block'");
    const auto rows = number(cut(rest, " \t")), keys = number(trimmed(rest));
    for (const auto& tokens : {rows, keys}) {
      if (!tokens || *tokens < 1 || *tokens > BlockMask::kMostTokens) {
        return wrong("block takes two numbers from 1 to ", BlockMask::kMostTokens);
      }
    }
    mask_.query_tokens_ = *rows;
    mask_.key_tokens_ = *keys;
    return {};
  }

  Status read_rest(std::string_view rest) {
    if (rest != "none" && rest != "all") {
      return wrong("rest is '", shown(rest), "', must be none or all");
    }
    mask_.rest_all_ = rest == "all";
    return {};
  }

  Status read_heads(std::string_view rest) {
    heads_.clear();
    all_heads_ = rest == "all";
    if (all_heads_) return {};
    while (!rest.empty() && heads_.size() <= static_cast<size_t>(kMostHeads)) {
      HEED_ASSIGN(const Span span, read_span(cut(rest, ","), "query head", kMostHeads));
      for (int32_t head = span.first; head <= span.last; ++head) heads_.push_back(head);
    }
    if (heads_.empty() || heads_.size() > static_cast<size_t>(kMostHeads)) {
      return wrong("heads takes numbers like 0,2-3, or all");
    }
    return {};
  }

  // "3" or "3-7", below `end`.
  Result<Span> read_span(std::string_view s, const char* what, int32_t end) const {
    const std::string_view all = s;
    const auto first = number(cut(s, "-"));
    const auto last = all.find('-') == std::string_view::npos ? first : number(trimmed(s));
    if (!first || !last || *first < 0 || *last < *first || *last >= end) {
      return wrong(what, " '", shown(all), "', must be a number below ", end, " or two like 3-7");
    }
    return Span{*first, *last};
  }

  Status read_row(std::string_view line) {
    if (mask_.query_tokens_ == 0) return wrong("'block ROWS KEYS' comes before the first row");
    HEED_ASSIGN(const Span rows, read_span(cut(line, ":"), "query block", BlockMask::kMostBlocks));
    BlockMask::Row row;
    for (line = trimmed(line); !line.empty(); line = trimmed(line)) {
      HEED_ASSIGN(const Span keys,
                  read_span(cut(line, " \t"), "key block", BlockMask::kMostBlocks));
      row.push_back({keys.first, keys.last - keys.first + 1});
    }
    const size_t lines = static_cast<size_t>(rows.last - rows.first) + 1;
    entries_ += lines * (row.size() + 1) * (all_heads_ ? 1 : heads_.size());
    if (entries_ > BlockMask::kMostEntries) {
      return wrong("more than ", BlockMask::kMostEntries, " entries; use larger blocks");
    }
    for (int32_t r = rows.first; r <= rows.last; ++r) {
      if (all_heads_) add(mask_.shared_[r], row);
      for (const int32_t head : heads_) add(mask_.own_[head][r], row);
    }
    return {};
  }

  static void add(BlockMask::Row& row, const BlockMask::Row& more) {
    row.insert(row.end(), more.begin(), more.end());
    std::sort(row.begin(), row.end(),
              [](const auto& a, const auto& b) { return a.begin < b.begin; });
    size_t n = 0;
    for (const select::KeyRange& range : row) {
      if (n > 0 && range.begin <= row[n - 1].end()) {
        row[n - 1].len = std::max(row[n - 1].end(), range.end()) - row[n - 1].begin;
      } else {
        row[n++] = range;
      }
    }
    row.resize(n);
  }

  std::string_view rest_, name_;
  int line_ = 0;
  size_t entries_ = 0;
  bool all_heads_ = true;
  std::vector<int32_t> heads_;
  BlockMask mask_;
};

Result<BlockMask> BlockMask::parse(std::string_view text, std::string_view name) {
  return BlockMaskParser(text, name).run();
}

int32_t BlockMask::most_ranges() const {
  const auto most = [](const Rows& rows) {
    size_t n = 0;
    for (const auto& [unused, row] : rows) n = std::max(n, row.size());
    return n;
  };
  size_t own = 0;
  for (const auto& [unused, rows] : own_) own = std::max(own, most(rows));
  return static_cast<int32_t>(std::max<size_t>(1, most(shared_) + own));
}

bool BlockMask::at(int head, int64_t row, int64_t column) const {
  return !for_each_range(head, row, [&](const select::KeyRange& range) {
    return column < range.begin || column >= range.end();
  });
}

}  // namespace heed
