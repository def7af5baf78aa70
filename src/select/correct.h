// Corrections of a sparse output [T, H, dv] by something that knows more than the plan: dense
// anchor rows, the mass that the plan hides, the mean of the values.
#pragma once

#include <cstdint>

#include "select/keys.h"

namespace heed::select {

// --- delta: o[t] = s[t] + (d[g(t)] - s[g(t)]), g(t) the last multiple of gamma at or before t
// -----

// Which rows of a prompt at positions [first, end) have to be computed densely: every multiple of
// gamma from `anchors` on, the tail from `tail` on, and what precedes the first anchor.
struct DeltaRows {
  int64_t gamma = 64;
  int64_t anchors = 0;
  int64_t tail = 0;  // ends at least max(128, gamma) rows before the prompt does

  bool is_anchor(int64_t position) const {
    return position >= anchors && position < tail && position % gamma == 0;
  }
  bool is_dense(int64_t position) const {
    return position < anchors || position >= tail || position % gamma == 0;
  }
};
DeltaRows delta_rows(int64_t gamma, int64_t first, int64_t end);

// The first row of a chunk that is an anchor, counted from pos0, or the next; and how many there
// are in [pos0, pos0 + rows).
int64_t next_anchor(const DeltaRows& rows, int64_t position);  // rows.tail where there is none
int32_t anchor_count(const DeltaRows& rows, int64_t pos0, int32_t n);

// Corrects one head of `out` [T, H, dv], last stride 1, which holds sparse rows, and dense ones
// where a row is dense but no anchor. dense [anchors of the chunk, H, dv] are its anchors' dense
// outputs. carry [H, dv]: the difference of the last anchor before the chunk; the chunk's last one
// replaces it. A chunk may begin anywhere. Anchor rows become their dense rows exactly.
void delta_correct(const DeltaRows& rows, int64_t pos0, View<float, 3> out,
                   View<const float, 3> dense, float* carry, Isa isa, int h);

// --- mass ----------------------------------------------------------------------------------------

// Share of the whole softmax that a row read, from natural log-sum-exps: e^(kept - all), at most 1;
// 1 where all is not finite.
float kept_mass(float kept_lse, float all_lse);

// ln(e^a + e^b): of what was kept and what was not, for example log_missing.
float add_lse(float a, float b);

// ln of the sum that `n` unread keys are guessed to have, each about `c` of a score at theta:
// c * n * e^theta. -inf for none.
float log_missing(double c, int64_t n, float theta);

// Denominator: row <- row * mass, which makes the kept probabilities those of the whole softmax.
void scale_row(float* row, int n, float mass);

// Value mean: row <- row + (1 - mass) * mean.
void add_value_mean(float* row, int n, float mass, const float* mean);

// Means of the values of slots [0, end) of a list, end growing from call to call.
class ValueMean {
 public:
  // sum [dv] is borrowed and 0 before the first call.
  ValueMean(const Store& store, Format format, int dv, Isa isa, double* sum)
      : store_(store), format_(format), dv_(dv), isa_(isa), sum_(sum) {}

  // mean [dv] over the live slots of [0, end), end >= that of the call before; 0 without any.
  void advance(const ListView& list, int32_t end, float* mean);

 private:
  const Store& store_;
  Format format_;
  int dv_;
  Isa isa_;
  double* sum_;
  int32_t end_ = 0;
  int64_t count_ = 0;
};

}  // namespace heed::select
