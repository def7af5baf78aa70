// Sums over rows for the work functions of rows of the registry: closed forms, because a prompt may
// have 2^28 tokens.
#pragma once

#include <algorithm>
#include <cstdint>

#include "heed/mechanisms.h"

namespace heed {

// Keys of the rows [first, end) of a causal map, each row counting `most` at most.
inline double causal_pairs(int64_t first, int64_t end, int64_t most = int64_t{1} << 40) {
  if (end <= first) return 0;
  // Row t sees t + 1 keys: rows below `bend` count all of them.
  const int64_t bend = std::clamp(most, first, end);
  const auto rows = static_cast<double>(bend - first);
  return rows * (static_cast<double>(first) + static_cast<double>(bend) + 1) / 2 +
         static_cast<double>(end - bend) * static_cast<double>(most);
}

// Of the rows 0, step, 2 step, ... below `end`.
inline double strided_pairs(int64_t step, int64_t end) {
  if (end <= 0) return 0;
  const auto rows = static_cast<double>((end - 1) / step + 1);
  return rows + static_cast<double>(step) * rows * (rows - 1) / 2;
}

inline Work exactly(double pairs) { return {pairs, pairs}; }

}  // namespace heed
