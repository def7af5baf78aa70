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

// Rate of `mine` over rate of `peer` in each round that has both: above 1 = mine is faster.
inline std::vector<double> paired_ratios(const std::vector<double>& mine,
                                         const std::vector<double>& peer) {
  std::vector<double> ratios;
  const size_t pairs = std::min(mine.size(), peer.size());
  for (size_t i = 0; i < pairs; ++i) ratios.push_back(peer[i] / mine[i]);
  return ratios;
}

inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

}  // namespace heed::eval
