#include "session/rotary_table.h"

#include <cmath>
#include <cstring>

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

void RotaryTable::fill(std::span<const int32_t> positions) {
  const size_t half = frequency_.size();
  for (size_t t = 0; t < positions.size(); ++t) {
    for (size_t i = 0; i < half; ++i) {
      const double angle = positions[t] * frequency_[i];
      cos_[t * half + i] = static_cast<float>(std::cos(angle));
      sin_[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void rotate_row(const Rotary& rotary, int64_t row, const float* in, float* out, int dk) {
  const int half = rotary.n_rot / 2;
  const float* c = rotary.cos + row * half;
  const float* s = rotary.sin + row * half;
  if (rotary.layout == RotaryLayout::kAdjacent) {
    for (int i = 0; i < half; ++i) {
      const float a = in[2 * i], b = in[2 * i + 1];
      out[2 * i] = a * c[i] - b * s[i];
      out[2 * i + 1] = a * s[i] + b * c[i];
    }
  } else {
    for (int i = 0; i < half; ++i) {
      const float a = in[i], b = in[i + half];
      out[i] = a * c[i] - b * s[i];
      out[i + half] = a * s[i] + b * c[i];
    }
  }
  const int turned = 2 * half;
  std::memcpy(out + turned, in + turned, static_cast<size_t>(dk - turned) * sizeof(float));
}

}  // namespace heed
