#include "select/correct.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace heed::select {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

}  // namespace

DeltaRows delta_rows(int64_t gamma, int64_t first, int64_t end) {
  DeltaRows rows;
  rows.gamma = gamma;
  rows.anchors = (first + gamma - 1) / gamma * gamma;
  // A multiple of gamma whatever max(128, gamma) is.
  const int64_t tail = end - std::max<int64_t>(128, gamma);
  rows.tail = tail > rows.anchors ? tail / gamma * gamma : first;
  return rows;
}

int64_t next_anchor(const DeltaRows& rows, int64_t position) {
  const int64_t at = (std::max(position, rows.anchors) + rows.gamma - 1) / rows.gamma * rows.gamma;
  return std::min(at, std::max(rows.tail, position));
}

int32_t anchor_count(const DeltaRows& rows, int64_t pos0, int32_t n) {
  const int64_t begin = next_anchor(rows, pos0), end = std::min(pos0 + n, rows.tail);
  return begin >= end ? 0 : static_cast<int32_t>((end - 1 - begin) / rows.gamma + 1);
}

void delta_correct(const DeltaRows& rows, int64_t pos0, View<float, 3> out,
                   View<const float, 3> dense, float* carry, Isa isa, int h) {
  const auto dv = static_cast<int>(out.shape[2]);
  float* difference = carry + int64_t{h} * dv;
  const kernels::Table& kernels = kernels::table(isa);
  int64_t anchor = 0;
  for (int64_t t = 0; t < out.shape[0] && pos0 + t < rows.tail; ++t) {
    if (pos0 + t < rows.anchors) continue;
    float* row = &out(t, h, 0);
    if (rows.is_anchor(pos0 + t)) {
      const float* d = &dense(anchor++, h, 0);
      for (int i = 0; i < dv; ++i) difference[i] = d[i] - row[i];
      std::copy_n(d, dv, row);
    } else {
      kernels.merge_rows(row, difference, 1.0f, 1.0f, dv);
    }
  }
}

float kept_mass(float kept_lse, float all_lse) {
  if (!std::isfinite(all_lse)) return 1.0f;
  return std::min(1.0f, std::exp(kept_lse - all_lse));
}

float add_lse(float a, float b) {
  const float top = std::max(a, b);
  if (top == kMinusInf) return kMinusInf;
  return top + std::log1p(std::exp(std::min(a, b) - top));
}

float log_missing(double c, int64_t n, float theta) {
  if (n <= 0 || !(c > 0)) return kMinusInf;
  return static_cast<float>(std::log(c * static_cast<double>(n)) + theta);
}

void scale_row(float* row, int n, float mass) {
  for (int i = 0; i < n; ++i) row[i] *= mass;
}

void add_value_mean(float* row, int n, float mass, const float* mean) {
  for (int i = 0; i < n; ++i) row[i] += (1.0f - mass) * mean[i];
}

void ValueMean::advance(const ListView& list, int32_t end, float* mean) {
  const kernels::FormatOps& ops = kernels::format_ops(isa_, format_);
  alignas(64) float row[kMaxHeadSize];
  for (end = std::min(end, list.len); end_ < end; ++end_) {
    const int32_t page = end_ / kPageTokens, slot = end_ % kPageTokens;
    if (((live_slots(list, page) >> slot) & 1) == 0) continue;
    ops.unpack_v(store_.v_page(list.pages[page]), slot, 1, row, dv_, dv_);
    for (int d = 0; d < dv_; ++d) sum_[d] += row[d];
    ++count_;
  }
  const double part = count_ > 0 ? 1.0 / static_cast<double>(count_) : 0.0;
  for (int d = 0; d < dv_; ++d) mean[d] = static_cast<float>(sum_[d] * part);
}

}  // namespace heed::select
