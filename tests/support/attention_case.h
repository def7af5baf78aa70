// A problem of attention as one line of text, so that a failing test prints the line that repeats
// it:
//
//   isa=avx2 k=bf16 v=bf16 heads=8 kv=2 dk=64 dv=64 seqs=17x129,1x40 mask=window:33 softcap=30
//   seed=7
//
// Fields left out have their defaults. `seqs` is QUERIESxKEYS of each sequence in the call; the
// queries are the last positions of the keys (or start at the first key when there are more).
#pragma once

#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/text.h"
#include "heed/attention.h"
#include "heed/cpu.h"
#include "heed/format.h"
#include "heed/status.h"

namespace heed::test {

struct SeqShape {
  int rows = 1;
  int keys = 1;
};

enum class PlanKind { kDense, kRanges, kGather, kMixed };
enum class Layout { kContiguous, kHeadsFirst, kPadded };

struct AttentionCase {
  Isa isa = Isa::kScalar;
  Format k = Format::kF32, v = Format::kF32;
  bool alias = false;
  int heads = 1, kv_heads = 1, dk = 64, dv = 64;
  std::vector<SeqShape> seqs;
  MaskKind mask = MaskKind::kCausal;
  int window = 0;
  float scale = 0;  // 0: 1 / sqrt(dk)
  float softcap = 0;
  bool alibi = false, sinks = false, bias = false, live = false, gaps = false;
  bool ragged = false;      // the lists of a layer differ in length
  bool head_map = false;    // heads read KV heads in a random assignment
  bool tile_masks = false;  // ranges carry explicit 64-bit masks
  PlanKind plan = PlanKind::kDense;
  int tags = 1;
  RotaryLayout rotary = RotaryLayout::kNone;
  int n_rot = 0;
  int rot_first = 0;  // dim at which those begin
  int deltas = 0;     // rot deltas that ranges choose from
  Layout layout = Layout::kContiguous;
  int threads = 1;
  uint64_t seed = 1;

  int rows() const {
    int n = 0;
    for (const SeqShape& s : seqs) n += s.rows;
    return n;
  }
};

namespace detail {

template <class E>
struct Name {
  E value;
  const char* text;
};

inline constexpr Name<PlanKind> kPlans[] = {{PlanKind::kDense, "dense"},
                                            {PlanKind::kRanges, "ranges"},
                                            {PlanKind::kGather, "gather"},
                                            {PlanKind::kMixed, "mixed"}};
inline constexpr Name<Layout> kLayouts[] = {{Layout::kContiguous, "contiguous"},
                                            {Layout::kHeadsFirst, "heads_first"},
                                            {Layout::kPadded, "padded"}};
inline constexpr Name<RotaryLayout> kRotaries[] = {{RotaryLayout::kNone, "none"},
                                                   {RotaryLayout::kAdjacent, "adjacent"},
                                                   {RotaryLayout::kHalves, "halves"}};

template <class E, size_t N>
const char* name_of(const Name<E> (&names)[N], E value) {
  for (const Name<E>& n : names) {
    if (n.value == value) return n.text;
  }
  return "?";
}

template <class E, size_t N>
bool parse_name(const Name<E> (&names)[N], const std::string& text, E& out) {
  for (const Name<E>& n : names) {
    if (text == n.text) {
      out = n.value;
      return true;
    }
  }
  return false;
}

}  // namespace detail

inline std::string to_text(const AttentionCase& c) {
  std::ostringstream out;
  out << "isa=" << isa_name(c.isa) << " k=" << format_name(c.k) << " v=" << format_name(c.v)
      << " heads=" << c.heads << " kv=" << c.kv_heads << " dk=" << c.dk << " dv=" << c.dv
      << " seqs=";
  for (size_t i = 0; i < c.seqs.size(); ++i) {
    out << (i ? "," : "") << c.seqs[i].rows << 'x' << c.seqs[i].keys;
  }
  out << " mask=";
  if (c.mask == MaskKind::kWindow)
    out << "window:" << c.window;
  else
    out << (c.mask == MaskKind::kCausal ? "causal" : "none");
  if (c.scale != 0) out << " scale=" << c.scale;
  if (c.softcap != 0) out << " softcap=" << c.softcap;
  const std::pair<const char*, bool> flags[] = {
      {"alias", c.alias},       {"alibi", c.alibi},
      {"sinks", c.sinks},       {"bias", c.bias},
      {"live", c.live},         {"gaps", c.gaps},
      {"head_map", c.head_map}, {"tile_masks", c.tile_masks},
      {"ragged", c.ragged}};
  for (const auto& [name, on] : flags) {
    if (on) out << ' ' << name << "=1";
  }
  if (c.plan != PlanKind::kDense) out << " plan=" << detail::name_of(detail::kPlans, c.plan);
  if (c.tags != 1) out << " tags=" << c.tags;
  if (c.rotary != RotaryLayout::kNone) {
    out << " rotary=" << detail::name_of(detail::kRotaries, c.rotary) << " n_rot=" << c.n_rot;
    if (c.rot_first != 0) out << " rot_first=" << c.rot_first;
  }
  if (c.deltas) out << " deltas=" << c.deltas;
  if (c.layout != Layout::kContiguous) {
    out << " layout=" << detail::name_of(detail::kLayouts, c.layout);
  }
  out << " threads=" << c.threads << " seed=" << c.seed;
  return out.str();
}

namespace detail {

inline bool parse_field(const std::string& key, const std::string& value, AttentionCase& c) {
  const std::map<std::string, bool*> flags = {
      {"alias", &c.alias},       {"alibi", &c.alibi},
      {"sinks", &c.sinks},       {"bias", &c.bias},
      {"live", &c.live},         {"gaps", &c.gaps},
      {"head_map", &c.head_map}, {"tile_masks", &c.tile_masks},
      {"ragged", &c.ragged}};
  const std::map<std::string, int*> ints = {
      {"heads", &c.heads}, {"kv", &c.kv_heads},   {"dk", &c.dk},
      {"dv", &c.dv},       {"tags", &c.tags},     {"rot_first", &c.rot_first},
      {"n_rot", &c.n_rot}, {"deltas", &c.deltas}, {"threads", &c.threads}};
  const std::map<std::string, float*> floats = {{"scale", &c.scale}, {"softcap", &c.softcap}};
  if (auto it = flags.find(key); it != flags.end()) return *it->second = value == "1", true;
  if (auto it = ints.find(key); it != ints.end()) return *it->second = std::stoi(value), true;
  if (auto it = floats.find(key); it != floats.end()) return *it->second = std::stof(value), true;
  if (key == "seed") return c.seed = std::stoull(value), true;
  if (key == "plan") return parse_name(kPlans, value, c.plan);
  if (key == "layout") return parse_name(kLayouts, value, c.layout);
  if (key == "rotary") return parse_name(kRotaries, value, c.rotary);
  if (key == "isa") {
    const Result<Isa> isa = parse_isa(value);
    if (isa.is_ok()) c.isa = *isa;
    return isa.is_ok();
  }
  if (key == "k" || key == "v") {
    const Result<Format> format = parse_format(value);
    if (format.is_ok()) (key == "k" ? c.k : c.v) = *format;
    return format.is_ok();
  }
  if (key == "mask") {
    c.mask = value == "none" ? MaskKind::kNone : MaskKind::kCausal;
    if (value.starts_with("window:")) {
      c.mask = MaskKind::kWindow;
      c.window = std::stoi(value.substr(7));
      return true;
    }
    return value == "none" || value == "causal";
  }
  if (key != "seqs") return false;
  std::istringstream list(value);
  for (std::string item; std::getline(list, item, ',');) {
    const size_t x = item.find('x');
    if (x == std::string::npos) return false;
    c.seqs.push_back({std::stoi(item.substr(0, x)), std::stoi(item.substr(x + 1))});
  }
  return true;
}

}  // namespace detail

// GoogleTest shows a parameter by this, not by its bytes.
inline void PrintTo(const AttentionCase& c, std::ostream* out) { *out << to_text(c); }

// Errors name the field. Numbers must be numbers: this reads what to_text wrote.
inline Result<AttentionCase> parse_case(const std::string& line) {
  AttentionCase c;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos ||
        !detail::parse_field(word.substr(0, equals), word.substr(equals + 1), c)) {
      return error(Code::kInvalidArgument, "field '", word, "' of an attention case");
    }
  }
  if (c.seqs.empty()) return error(Code::kInvalidArgument, "an attention case needs seqs=TxS");
  return c;
}

}  // namespace heed::test
