// Order statistics of measurements.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace heed::eval {

// The q-quantile, 0 <= q <= 1, linear between neighbours (numpy's default). `values` in any order;
// NaN when there are none.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

}  // namespace heed::eval
