#include "session/rotary_table.h"

#include <cmath>

#include "attention/rotation.h"

namespace heed {

RotaryTable::RotaryTable(const Rope& rope, int n_rot, std::span<const float> factors) {
  for (int i = 0; i < n_rot / 2; ++i) {
    const double divisor = rope.factors && !factors.empty() ? factors[i] : 1.0;
    frequency_.push_back(std::pow(rope.base, -2.0 * i / n_rot) * rope.scale / divisor);
  }
}

void RotaryTable::reserve(int64_t rows) {
  const size_t n = static_cast<size_t>(rows) * frequency_.size();
  if (cos_.size() < n) cos_.resize(n);
  if (sin_.size() < n) sin_.resize(n);
}

void RotaryTable::fill(std::span<const int64_t> positions) {
  rotary_table(frequency_, positions, cos_.data(), sin_.data());
}

}  // namespace heed
