#include "policy/where.h"

#include <charconv>

#include "base/in_quotes.h"
#include "base/text.h"

namespace heed {
namespace {

Status malformed(std::string_view text) {
  return error(Code::kInvalidArgument, in_quotes(text),
               " names no layers or heads, must be like L3, L0-3, L12.H3, L0-3.KV1, L*.H0-2 or *");
}

struct Range {
  bool all = false;
  int first = 0, last = 0;
};

// "*", "3" or "0-3".
Result<Range> parse_range(std::string_view text, std::string_view what, int most,
                          std::string_view whole) {
  if (text == "*") return Range{true, 0, 0};
  Range range;
  const char* end = text.data() + text.size();
  auto [at, fault] = std::from_chars(text.data(), end, range.first);
  if (fault == std::errc::invalid_argument || text.empty() || text[0] == '-') {
    return malformed(whole);
  }
  range.last = range.first;
  bool in_range = fault == std::errc{};
  if (at != end) {
    if (*at != '-' || at + 1 == end || at[1] == '-') return malformed(whole);
    const auto second = std::from_chars(at + 1, end, range.last);
    if (second.ec == std::errc::invalid_argument || second.ptr != end) return malformed(whole);
    in_range = in_range && second.ec == std::errc{};
  }
  if (!in_range || range.first > most || range.last > most) {
    return error(Code::kInvalidArgument, in_quotes(whole), ": ", what, "s are 0 to ", most);
  }
  if (range.last < range.first) {
    return error(Code::kInvalidArgument, in_quotes(whole), ": the last ", what, " is ", range.last,
                 ", must be ", range.first, " to ", most);
  }
  return range;
}

std::string range_text(int first, int last) {
  return first == last ? cat(first) : cat(first, "-", last);
}

bool meet(int a_first, int a_last, int b_first, int b_last) {
  return a_first <= b_last && b_first <= a_last;
}

}  // namespace

Result<Where> parse_where(std::string_view text) {
  Where where;
  if (text == "*") return where;
  if (!text.starts_with('L')) return malformed(text);
  const size_t dot = text.find('.');
  HEED_ASSIGN(const Range layers,
              parse_range(text.substr(1, dot - 1), "layer", Where::kMostLayer, text));
  where.all_layers = layers.all;
  where.first_layer = layers.first;
  where.last_layer = layers.last;
  if (dot == std::string_view::npos) return where;
  std::string_view heads = text.substr(dot + 1);
  const bool kv = heads.starts_with("KV");
  if (!kv && !heads.starts_with('H')) return malformed(text);
  heads.remove_prefix(kv ? 2 : 1);
  HEED_ASSIGN(const Range range, parse_range(heads, "head", Where::kMostHead, text));
  if (range.all) return where;
  where.heads = kv ? Where::Heads::kKv : Where::Heads::kQuery;
  where.first_head = range.first;
  where.last_head = range.last;
  return where;
}

int Where::rank() const {
  const int by_heads = heads == Heads::kQuery ? 4 : heads == Heads::kKv ? 2 : 0;
  return by_heads + (all_layers ? 0 : 1);
}

bool Where::holds(int layer, int head, int kv_head) const {
  if (!all_layers && (layer < first_layer || layer > last_layer)) return false;
  if (heads == Heads::kAll) return true;
  const int asked = heads == Heads::kKv ? kv_head : head;
  return asked >= first_head && asked <= last_head;
}

bool Where::overlaps(const Where& other) const {
  const bool layers = all_layers || other.all_layers ||
                      meet(first_layer, last_layer, other.first_layer, other.last_layer);
  return layers && (heads != other.heads || heads == Heads::kAll ||
                    meet(first_head, last_head, other.first_head, other.last_head));
}

std::string Where::text() const {
  if (everywhere()) return "*";
  std::string out = cat("L", all_layers ? "*" : range_text(first_layer, last_layer));
  if (heads == Heads::kAll) return out;
  return cat(out, heads == Heads::kKv ? ".KV" : ".H", range_text(first_head, last_head));
}

}  // namespace heed
