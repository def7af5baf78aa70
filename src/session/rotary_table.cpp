#include "session/rotary_table.h"

#include "attention/rotation.h"
#include "model/architecture.h"

namespace heed {

RotaryTable::RotaryTable(std::vector<double> frequencies) : frequency_(std::move(frequencies)) {}

void RotaryTable::reserve(int64_t rows) {
  const size_t n = static_cast<size_t>(rows) * frequency_.size();
  if (cos_.size() < n) cos_.resize(n);
  if (sin_.size() < n) sin_.resize(n);
}

void RotaryTable::fill(std::span<const int64_t> positions) {
  rotary_table(frequency_, positions, cos_.data(), sin_.data());
}

Result<std::vector<RotaryTable>> rotary_tables(const Hyperparameters& hyper,
                                               std::span<const float> factors) {
  std::vector<RotaryTable> tables;
  for (const Rope& rope : hyper.ropes) {
    RotarySpec spec;
    spec.layout = hyper.n_rot > 0 ? hyper.arch->rotary : RotaryLayout::kNone;
    spec.n_rot = hyper.n_rot;
    spec.base = rope.base;
    spec.scale = rope.scale;
    if (rope.factors) spec.factors = factors;
    HEED_ASSIGN(std::vector<double> frequencies, rotary_frequencies(spec));
    tables.emplace_back(std::move(frequencies));
  }
  return tables;
}

}  // namespace heed
