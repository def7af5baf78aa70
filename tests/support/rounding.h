// Rounding to the storage formats, written for reading; shares nothing with the kernels' pack code.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "heed/format.h"

namespace heed::test {

// Nearest multiple of the spacing of numbers with `precision` bits and exponent >= min_exponent
// (of a number in [1, 2) x 2^e), ties to even; infinity above `largest`.
inline float round_bits(float x, int precision, int min_exponent, double largest) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), min_exponent);
  const double spacing = std::ldexp(1.0, exponent - precision + 1);
  const double rounded = std::nearbyint(x / spacing) * spacing;
  if (std::fabs(rounded) > largest) {
    return std::copysign(std::numeric_limits<float>::infinity(), x);
  }
  return static_cast<float>(rounded);
}

inline float round_bf16(float x) { return round_bits(x, 8, -126, 0x1.FEp127); }
inline float round_f16(float x) { return round_bits(x, 11, -14, 65504.0); }

inline float round_to(Format format, float x) {
  switch (format) {
    case Format::kF32: return x;
    case Format::kF16: return round_f16(x);
    case Format::kBf16: return round_bf16(x);
  }
  return x;
}

}  // namespace heed::test
