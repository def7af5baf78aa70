// cos and sin of the rotation angles of a step's rows, one table per frequency base.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/status.h"
#include "model/hyperparameters.h"

namespace heed {

class RotaryTable {
 public:
  // Radians per position of each pair (empty: nothing turns), and what turned pairs are multiplied
  // by.
  explicit RotaryTable(std::vector<double> frequencies, float length = 1);

  // Room for `rows`; may throw bad_alloc.
  void reserve(int64_t rows);
  // Angles of these positions; within the reservation.
  void fill(std::span<const int64_t> positions);

  Rotary view(RotaryLayout layout) const {
    return {.layout = frequency_.empty() ? RotaryLayout::kNone : layout,
            .n_rot = 2 * static_cast<int>(frequency_.size()),
            .cos = cos_.data(),
            .sin = sin_.data()};
  }

 private:
  std::vector<double> frequency_;  // [n_rot / 2] radians per position
  float length_ = 1;               // of turned pairs: YaRN lengthens them
  std::vector<float> cos_, sin_;   // [T, n_rot / 2]
};

// Of each of a model's ropes; `factors` are those of its file, or empty. Errors: numbers that give
// no frequencies (attention/rotation.h).
Result<std::vector<RotaryTable>> rotary_tables(const Hyperparameters& hyper,
                                               std::span<const float> factors);

}  // namespace heed
