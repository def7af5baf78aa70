// Every mechanism: one line here, everything else in its folder.
#include <algorithm>

#include "base/nearest.h"
#include "base/text.h"
#include "mechanisms/row.h"

namespace heed {

// One line each, in the order of lists and pages; stages are sorted out by the rows themselves.
#define HEED_ROWS(ROW)   \
  ROW(kDense)            \
  ROW(kAShape)           \
  ROW(kTriShape)         \
  ROW(kVerticalSlash)    \
  ROW(kBlockTopk)        \
  ROW(kMinference)       \
  ROW(kFlexprefill)      \
  ROW(kXattention)       \
  ROW(kSpargeattn)       \
  ROW(kBlockSparseFlash) \
  ROW(kDeltaAttention)   \
  ROW(kF32Pages)         \
  ROW(kF16Pages)         \
  ROW(kBf16Pages)

#define HEED_DECLARE(row) extern const Row row;
HEED_ROWS(HEED_DECLARE)
#undef HEED_DECLARE

namespace {

#define HEED_ADDRESS(row) &row,
constexpr const Row* kRows[] = {HEED_ROWS(HEED_ADDRESS)};
#undef HEED_ADDRESS

}  // namespace

std::span<const Row* const> written_rows() { return kRows; }

const Registry& registry() {
  static const Registry build(kRows);
  return build;
}

std::string plain_name(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return out;
}

Registry::Registry(std::span<const Row* const> rows, bool with_absent) {
  for (const Row* row : rows) {
    if (with_absent || row->present()) rows_.push_back(row);
  }
  std::stable_sort(rows_.begin(), rows_.end(),
                   [](const Row* a, const Row* b) { return a->about.stage < b->about.stage; });
  for (const Row* row : rows_) mechanisms_.push_back(&row->about);
}

std::vector<const Mechanism*> Registry::of(Stage stage) const {
  std::vector<const Mechanism*> out;
  for (const Mechanism* m : mechanisms_) {
    if (m->stage == stage) out.push_back(m);
  }
  return out;
}

const Mechanism* Registry::find(std::string_view name) const {
  const std::string plain = plain_name(name);
  for (const Mechanism* m : mechanisms_) {
    const auto aliases = words_in(m->aliases);
    if (plain == m->name || std::ranges::find(aliases, plain) != aliases.end()) return m;
  }
  return nullptr;
}

const Row& Registry::row_of(const Mechanism& mechanism) const {
  return **std::ranges::find_if(rows_, [&](const Row* row) { return &row->about == &mechanism; });
}

std::span<const Mechanism* const> mechanisms() { return registry().mechanisms(); }

Result<const Mechanism*> find_mechanism(std::string_view name) {
  if (const Mechanism* found = registry().find(name)) return found;
  std::vector<std::string_view> names;
  for (const Mechanism* m : mechanisms()) names.push_back(m->name);
  const std::string near = nearest_name(plain_name(name), names);
  return error(Code::kNotFound, "no mechanism is called '", name.substr(0, 64), "'",
               near.empty() ? "; heed mechanisms lists them" : cat("; did you mean '", near, "'?"));
}

}  // namespace heed
