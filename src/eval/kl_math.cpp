#include "eval/kl_math.h"

#include <algorithm>
#include <cmath>

#include "eval/statistics.h"

namespace heed::eval {

RowSoftmax row_softmax(std::span<const float> logits) {
  const auto top = std::max_element(logits.begin(), logits.end());
  const double largest = *top;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return {largest + std::log(sum), static_cast<int>(top - logits.begin())};
}

RowComparison compare_rows(std::span<const float> a, const RowSoftmax& softmax_a,
                           std::span<const float> b, const RowSoftmax& softmax_b) {
  RowComparison row;
  float largest = 0;
  for (size_t t = 0; t < a.size(); ++t) {
    const double log_a = static_cast<double>(a[t]) - softmax_a.log_sum_exp;
    const double log_b = static_cast<double>(b[t]) - softmax_b.log_sum_exp;
    const double p = std::exp(log_a);
    if (p != 0) row.kl += p * (log_a - log_b);  // 0 ln 0 = 0; a NaN goes in
    // Equal infinities differ by nothing, but their difference is not a number.
    if (a[t] != b[t]) largest = std::max(largest, std::fabs(a[t] - b[t]));
  }
  row.max_abs_dlogit = largest;
  // The true value is never negative; rounding of a sum of both signs may be, by about 1e-16.
  // A NaN stays, so that callers see it.
  if (row.kl < 0) row.kl = 0;
  row.same_top = softmax_a.top == softmax_b.top;
  if (!row.same_top) row.gap = static_cast<double>(a[softmax_a.top]) - a[softmax_b.top];
  return row;
}

void PairStats::add(const RowComparison& row) {
  kl_.push_back(row.kl);
  if (!row.same_top) gaps_.push_back(row.gap);
  max_abs_dlogit_ = std::max(max_abs_dlogit_, row.max_abs_dlogit);
}

double PairStats::mean_kl() const {
  double sum = 0;
  for (const double kl : kl_) sum += kl;
  return sum / static_cast<double>(kl_.size());
}

double PairStats::max_kl() const { return *std::max_element(kl_.begin(), kl_.end()); }

double PairStats::kl_percentile(double q) const { return quantile(kl_, q); }

double PairStats::top1_agreement() const {
  return 1.0 - static_cast<double>(gaps_.size()) / static_cast<double>(kl_.size());
}

}  // namespace heed::eval
