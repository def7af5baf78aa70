// What a policy says: of a head, over another policy, in its canonical form, as a hash.
#include "heed/policy.h"

#include <algorithm>
#include <array>

#include "base/block_hash.h"
#include "base/in_quotes.h"
#include "base/read_file.h"
#include "base/text.h"
#include "policy/syntax.h"

namespace heed {
namespace {

// Whether it is what holds when nothing is named.
bool is_default(const std::vector<Setting>& chain) {
  return std::ranges::all_of(chain, [](const Setting& s) {
    return s.mechanism == nullptr || s.mechanism->name == "dense";
  });
}

constexpr std::array kAlterKv = {Stage::kScore, Stage::kPrefill, Stage::kCorrect,
                                 Stage::kHead,  Stage::kSteer,   Stage::kKv};

// How a value is written: by a person, or for the hash.
using ValueText = Result<std::string> (*)(const Parameter&, const Value&);

Result<std::string> shown(const Parameter& p, const Value& value) {
  const bool word = p.type == ParameterType::kFile || p.type == ParameterType::kChoice;
  return word ? quote_value(value_text(value)) : value_text(value);
}

// A file counts by what it holds, wherever it lies.
Result<std::string> hashed(const Parameter& p, const Value& value) {
  const std::string text = value_text(value);
  if (p.type != ParameterType::kFile || text.empty()) return shown(p, value);
  HEED_ASSIGN(const std::string bytes, read_file(text, cat(p.name, " ", in_quotes(text))));
  return to_hex(block_hash(bytes.data(), bytes.size()));
}

Result<std::string> written(const Setting& setting, bool all, ValueText write) {
  const Mechanism& m = *setting.mechanism;
  std::string out(m.name);
  if (all) out += cat("/", m.revision);
  const Setting standard = default_setting(m);
  char separator = ':';
  for (size_t i = 0; i < setting.values.size(); ++i) {
    if (!all && setting.values[i] == standard.values[i]) continue;
    HEED_ASSIGN(const std::string value, write(m.parameters[i], setting.values[i]));
    out += cat(separator, m.parameters[i].name, "=", value);
    separator = ',';
  }
  return out;
}

Result<std::string> assignment_text(const Assignment& a, bool all, ValueText write) {
  std::string out = stage_name(a.stage);
  if (!a.where.everywhere()) out += cat("@", a.where.text());
  out += '=';
  if (a.chain.empty()) return out + "none";
  bool first = true;
  for (size_t i = 0; i < a.chain.size(); ++i) {
    if (a.chain[i].mechanism == nullptr) continue;
    HEED_ASSIGN(const std::string text, written(a.chain[i], all, write));
    const bool kv = a.stage == Stage::kKv;
    out += cat(first ? "" : kv ? "," : "+", kv ? (i == 0 ? "k:" : "v:") : "", text);
    first = false;
  }
  return out;
}

}  // namespace

Policy Policy::over(const Policy& base) const {
  Policy out = *this;
  for (const Assignment& below : base.assignments_) {
    if (below.stage == Stage::kKv && below.where.everywhere()) {
      // Keys and values are named apart.
      const auto at = std::ranges::find_if(out.assignments_, [](const Assignment& a) {
        return a.stage == Stage::kKv && a.where.everywhere();
      });
      if (at != out.assignments_.end()) {
        for (size_t i = 0; i < at->chain.size(); ++i) {
          if (at->chain[i].mechanism == nullptr) at->chain[i] = below.chain[i];
        }
      }
    }
    if (!names(below.stage)) out.assignments_.push_back(below);
  }
  std::ranges::stable_sort(out.assignments_, {}, [](const Assignment& a) { return a.stage; });
  return out;
}

bool Policy::names(Stage stage) const {
  return std::ranges::any_of(assignments_, [=](const Assignment& a) { return a.stage == stage; });
}

const Assignment* Policy::at(Stage stage, int layer, int head, int kv_head) const {
  const Assignment* found = nullptr;
  for (const Assignment& a : assignments_) {
    // In the order of ranks.
    if (a.stage == stage && a.where.holds(layer, head, kv_head)) found = &a;
  }
  return found;
}

std::optional<Format> Policy::format(size_t which) const {
  for (const Assignment& a : assignments_) {
    if (a.stage != Stage::kKv || !a.where.everywhere()) continue;
    const Mechanism* m = a.chain[which].mechanism;
    if (m == nullptr) return std::nullopt;
    const Result<Format> format = parse_format(m->name);
    if (format.is_ok()) return *format;
  }
  return std::nullopt;
}

// Without what changes nothing: defaults of everything, and layers that are like the rest.
std::vector<const Assignment*> Policy::canonical() const {
  static const std::vector<Setting> kNone;
  std::vector<const Assignment*> out;
  const std::vector<Setting>* everywhere = &kNone;
  Stage stage = Stage::kScore;
  for (const Assignment& a : assignments_) {
    if (a.stage != stage) everywhere = &kNone;
    stage = a.stage;
    if (a.where.everywhere()) {
      everywhere = &a.chain;
      if (!is_default(a.chain)) out.push_back(&a);
      continue;
    }
    const bool layers_only = a.where.heads == Where::Heads::kAll;
    const bool same = a.chain == *everywhere || (is_default(a.chain) && is_default(*everywhere));
    if (!layers_only || !same) out.push_back(&a);
  }
  return out;
}

std::string Policy::text() const {
  std::string out;
  for (const Assignment* a : canonical()) {
    const auto text = assignment_text(*a, false, shown);  // it reads no file and cannot fail
    out += cat(out.empty() ? "" : ";", *text);
  }
  return out;
}

Result<uint64_t> Policy::hash_of(bool kv_only) const {
  std::string text;
  for (const Assignment* a : canonical()) {
    if (kv_only && std::ranges::find(kAlterKv, a->stage) == kAlterKv.end()) continue;
    HEED_ASSIGN(const std::string part, assignment_text(*a, true, hashed));
    text += part + ';';
  }
  constexpr uint64_t kRole = 0x706f6c696379;  // "policy"
  return block_hash(text.data(), text.size(), kRole).low;
}

Result<uint64_t> Policy::hash() const { return hash_of(false); }
Result<uint64_t> Policy::kv_hash() const { return hash_of(true); }

std::string setting_text(const Setting& setting) {
  return *written(setting, false, shown);  // it reads no file and cannot fail
}

std::string hash_text(uint64_t hash) { return to_hex({.low = 0, .high = hash}).substr(0, 16); }

}  // namespace heed
