#include "attention/rotation.h"

#include <cmath>
#include <cstring>

#include "base/text.h"
#include "kernels/kernels.h"

namespace heed {

Result<std::vector<double>> rotary_frequencies(const RotarySpec& spec) {
  if (spec.layout == RotaryLayout::kNone) return std::vector<double>{};
  if (spec.n_rot < 2 || spec.n_rot % 2 != 0 || spec.n_rot > kMaxHeadSize) {
    return error(Code::kOutOfRange, "rotary embedding: ", spec.n_rot,
                 " rotated dims; use an even number from 2 to ", kMaxHeadSize);
  }
  if (!std::isfinite(spec.base) || spec.base <= 0) {
    return error(Code::kOutOfRange, "rotary embedding: frequency base ", spec.base,
                 " is not a positive number");
  }
  if (!std::isfinite(spec.scale) || spec.scale <= 0) {
    return error(Code::kOutOfRange, "rotary embedding: position scale ", spec.scale,
                 " is not a positive number");
  }
  const size_t half = static_cast<size_t>(spec.n_rot / 2);
  if (!spec.factors.empty() && spec.factors.size() != half) {
    return error(Code::kInvalidArgument, "rotary embedding: ", spec.factors.size(),
                 " frequency factors for ", half, " pairs of dims");
  }
  std::vector<double> frequencies(half);
  for (size_t i = 0; i < half; ++i) {
    const double factor = spec.factors.empty() ? 1.0 : spec.factors[i];
    if (!std::isfinite(factor) || factor == 0) {
      return error(Code::kOutOfRange, "rotary embedding: frequency factor ", i, " is ", factor,
                   "; a finite number other than 0 is needed");
    }
    frequencies[i] =
        std::pow(spec.base, -2.0 * static_cast<double>(i) / spec.n_rot) * spec.scale / factor;
  }
  return frequencies;
}

void rotary_table(std::span<const double> frequencies, std::span<const int64_t> positions,
                  float* cos, float* sin) {
  for (size_t t = 0; t < positions.size(); ++t) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = static_cast<double>(positions[t]) * frequencies[i];
      *cos++ = static_cast<float>(std::cos(angle));
      *sin++ = static_cast<float>(std::sin(angle));
    }
  }
}

void rotate_rows(Isa isa, const Rotary& rotary, View<const float, 3> in, View<float, 3> out) {
  const kernels::Table& table = kernels::table(isa);
  const int d = static_cast<int>(in.shape[2]);
  const bool adjacent = rotary.layout == RotaryLayout::kAdjacent;
  const int n_rot = rotary.layout == RotaryLayout::kNone ? 0 : rotary.n_rot;
  for (int64_t t = 0; t < in.shape[0]; ++t) {
    const float* cos = n_rot > 0 ? rotary.cos + t * (n_rot / 2) : nullptr;
    const float* sin = n_rot > 0 ? rotary.sin + t * (n_rot / 2) : nullptr;
    for (int64_t h = 0; h < in.shape[1]; ++h) {
      table.rotate_row(&out(t, h, 0), &in(t, h, 0), cos, sin, n_rot, adjacent, d);
    }
  }
}

}  // namespace heed
