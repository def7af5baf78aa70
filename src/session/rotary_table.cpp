#include "session/rotary_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "attention/rotation.h"
#include "model/architecture.h"

namespace heed {

namespace {

// The pair that turns `turns` times within the original context.
double pair_of(double turns, const Rope& rope, int n_rot) {
  return n_rot * std::log(static_cast<double>(rope.yarn_context) / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.base));
}

// How much of pair i keeps its frequency: 1 for pairs that turn 32 times or more within the
// original context, 0 for those that turn at most once (the paper's alpha and beta), even between.
double kept_share(int i, const Rope& rope, int n_rot) {
  const double first = std::max(0.0, std::floor(pair_of(32, rope, n_rot)));
  const double last = std::min(n_rot - 1.0, std::ceil(pair_of(1, rope, n_rot)));
  return 1 - std::clamp((i - first) / std::max(0.001, last - first), 0.0, 1.0);
}

}  // namespace

RotaryTable::RotaryTable(std::vector<double> frequencies, float length)
    : frequency_(std::move(frequencies)), length_(length) {}

void RotaryTable::reserve(int64_t rows) {
  const size_t n = static_cast<size_t>(rows) * frequency_.size();
  if (cos_.size() < n) cos_.resize(n);
  if (sin_.size() < n) sin_.resize(n);
}

void RotaryTable::fill(std::span<const int64_t> positions) {
  rotary_table(frequency_, positions, cos_.data(), sin_.data());
  if (length_ == 1) return;
  const size_t n = positions.size() * frequency_.size();
  for (size_t i = 0; i < n; ++i) {
    cos_[i] *= length_;
    sin_[i] *= length_;
  }
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
    if (rope.yarn_context == 0) {
      tables.emplace_back(std::move(frequencies));
      continue;
    }
    for (int i = 0; i < hyper.n_rot / 2; ++i) {  // fast pairs are not scaled after all
      const double kept = kept_share(i, rope, hyper.n_rot);
      frequencies[i] *= (1 - kept) + kept / rope.scale;
    }
    // The paper's temperature: softmax over scores (0.1 ln(factor) + 1)^2 times as large.
    const double length = rope.scale < 1 ? 1 - 0.1 * std::log(rope.scale) : 1.0;
    tables.emplace_back(std::move(frequencies), static_cast<float>(length));
  }
  return tables;
}

}  // namespace heed
