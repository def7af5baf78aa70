#include "eval/linear_reference.h"

#include <algorithm>
#include <cmath>

namespace heed::eval {
namespace {

constexpr int64_t kCheckedRows = 16;

}  // namespace

LinearReference::LinearReference(const LinearProblem& problem, int64_t rows) : problem_(problem) {
  const int64_t checked = std::min(rows, kCheckedRows), inputs = problem.size.inputs;
  outputs_ = std::min(LinearProblem::kDistinctOutputs, problem.size.outputs);
  for (int64_t i = 0; i < checked; ++i) {
    rows_.push_back(((i + 1) * rows - 1) / checked);  // the last row is one of them
    const float* x = &problem.x[static_cast<size_t>(rows_.back() * inputs)];
    for (int64_t o = 0; o < outputs_; ++o) {
      const float* w = &problem.decoded[static_cast<size_t>(o * inputs)];
      double exact = 0;
      float plain = 0;
      for (int64_t k = 0; k < inputs; ++k) {
        exact += static_cast<double>(x[k]) * static_cast<double>(w[k]);
        plain += x[k] * w[k];
      }
      exact_.push_back(exact);
      plain_.push_back(plain);
    }
  }
}

template <class Row>
double LinearReference::error_of(const Row& row) const {
  double off = 0, norm = 0;
  const auto distinct = static_cast<size_t>(outputs_);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const std::span<const float> y = row(i);
    for (size_t o = 0; o < y.size(); ++o) {
      const double exact = exact_[i * distinct + o % distinct];
      const double d = static_cast<double>(y[o]) - exact;
      off += d * d;
      norm += exact * exact;
    }
  }
  return std::sqrt(off / norm);
}

double LinearReference::error(const LinearContender& contender) const {
  return error_of([&](size_t i) { return contender.output(rows_[i]); });
}

double LinearReference::plain_error() const {
  const auto distinct = static_cast<size_t>(outputs_);
  return error_of(
      [&](size_t i) { return std::span<const float>(&plain_[i * distinct], distinct); });
}

}  // namespace heed::eval
