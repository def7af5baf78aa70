// cos and sin of the rotation angles of a step's rows, one table per rotation of a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/engine.h"
#include "heed/status.h"
#include "model/hyperparameters.h"
#include "model/weights.h"

namespace heed {

// Of queries at position p: they are lengthened by 1 + scale * ln(1 + floor(p / context)).
struct QueryTemperature {
  float scale = 0;  // 0: they are not
  int64_t context = 1;

  double at(int64_t position) const;
};

class RotaryTable {
 public:
  // Radians per position of each pair (empty: nothing turns), and what turned pairs are multiplied
  // by.
  explicit RotaryTable(std::vector<double> frequencies, float length = 1,
                       QueryTemperature temperature = {});

  // The turned dims begin at `first`, and all scores are multiplied by `scores`, also those of dims
  // that do not turn.
  void place(int first, float scores) {
    first_ = first;
    scores_ = scores;
  }
  float scores() const { return scores_; }

  // Room for `rows`; may throw bad_alloc.
  void reserve(int64_t rows);
  // Angles of these positions, from a row on; within the reservation.
  void fill(std::span<const int64_t> positions, int64_t row = 0);

  // Of the rows from `row` on.
  Rotary keys(RotaryLayout layout, int64_t row = 0) const { return view(layout, cos_, sin_, row); }
  Rotary queries(RotaryLayout layout, int64_t row = 0) const {
    return temperature_.scale == 0 ? keys(layout, row) : view(layout, query_cos_, query_sin_, row);
  }

 private:
  Rotary view(RotaryLayout layout, const std::vector<float>& cos, const std::vector<float>& sin,
              int64_t row) const {
    const auto first = static_cast<size_t>(row) * frequency_.size();
    return {.layout = frequency_.empty() ? RotaryLayout::kNone : layout,
            .n_rot = 2 * static_cast<int>(frequency_.size()),
            .cos = cos.data() + first,
            .sin = sin.data() + first,
            .first = first_};
  }

  std::vector<double> frequency_;  // [n_rot / 2] radians per position
  float length_;                   // of turned pairs: YaRN and LongRoPE lengthen them
  int first_ = 0;
  float scores_ = 1;
  QueryTemperature temperature_;
  std::vector<float> cos_, sin_;              // [T, n_rot / 2]
  std::vector<float> query_cos_, query_sin_;  // the same with the temperature, where there is one
};

// Of each of a model's ropes, for sequences of up to `context` positions. Errors: numbers that give
// no frequencies (attention/rotation.h).
Result<std::vector<RotaryTable>> rotary_tables(const Hyperparameters& hyper,
                                               const ModelWeights& weights,
                                               const RopeOptions& options, int64_t context);

// Bytes of all tables, for `rows` positions.
uint64_t rotary_bytes(const Hyperparameters& hyper, int64_t rows);

}  // namespace heed
