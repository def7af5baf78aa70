// KL(A || B) = sum_t p_A(t) ln(p_A(t) / p_B(t)) in nats between next-token distributions, from fp32
// logits with all sums in fp64.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace heed::eval {

// What one row of logits needs before it is compared.
struct RowSoftmax {
  double log_sum_exp = 0;
  int top = 0;  // lowest index of the largest logit
};
RowSoftmax row_softmax(std::span<const float> logits);

struct RowComparison {
  double kl = 0;              // KL(a || b), >= 0; exactly 0 for equal rows
  double max_abs_dlogit = 0;  // largest |a_t - b_t|
  bool same_top = true;
  // a's top logit minus a's logit of b's choice; 0 when the choices agree. A difference of the
  // choices with |a - b| <= D everywhere has a gap of at most 2 D.
  double gap = 0;
};
RowComparison compare_rows(std::span<const float> a, const RowSoftmax& softmax_a,
                           std::span<const float> b, const RowSoftmax& softmax_b);

// All positions of one pair of engines.
class PairStats {
 public:
  void add(const RowComparison& row);

  int64_t tokens() const { return static_cast<int64_t>(kl_.size()); }
  double mean_kl() const;
  double max_kl() const;
  double kl_percentile(double q) const;
  double top1_agreement() const;  // share of positions, 1 = all
  double max_abs_dlogit() const { return max_abs_dlogit_; }
  const std::vector<double>& top1_gaps() const { return gaps_; }  // one a difference, in order

 private:
  std::vector<double> kl_;
  std::vector<double> gaps_;
  double max_abs_dlogit_ = 0;
};

}  // namespace heed::eval
