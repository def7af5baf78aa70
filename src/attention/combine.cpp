// Log-sum-exp combination of parts that each normalised over their own keys.
#include <algorithm>
#include <cmath>
#include <limits>

#include "heed/attention.h"

namespace heed {

void combine(View<const float, 4> part_out, View<const float, 3> part_lse, View<float, 3> out,
             View<float, 2> lse) {
  const float minus_inf = -std::numeric_limits<float>::infinity();
  const int64_t tags = part_out.shape[0], dv = part_out.shape[3];
  for (int64_t t = 0; t < part_out.shape[1]; ++t) {
    for (int64_t h = 0; h < part_out.shape[2]; ++h) {
      float top = minus_inf;
      for (int64_t i = 0; i < tags; ++i) top = std::max(top, part_lse(i, t, h));
      double sum = 0;
      for (int64_t i = 0; i < tags; ++i) {
        const double part = part_lse(i, t, h);
        if (part != minus_inf) sum += std::exp(part - top);
      }
      float* row = &out(t, h, 0);
      std::fill_n(row, dv, 0.0f);
      for (int64_t i = 0; i < tags; ++i) {
        const double part = part_lse(i, t, h);
        if (part == minus_inf) continue;
        const float weight = static_cast<float>(std::exp(part - top) / sum);
        const float* from = &part_out(i, t, h, 0);
        for (int64_t d = 0; d < dv; ++d) row[d] += weight * from[d];
      }
      if (lse.data != nullptr) {
        lse(t, h) = top == minus_inf ? minus_inf : static_cast<float>(top + std::log(sum));
      }
    }
  }
}

}  // namespace heed
