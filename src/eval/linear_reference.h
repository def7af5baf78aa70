// The products of `heed bench linears` in fp64, and in the plainest fp32: the yardsticks of errors.
#pragma once

#include <vector>

#include "eval/linear_problem.h"

namespace heed::eval {

// A few rows of x against the decoded weights, spread over all `rows`.
class LinearReference {
 public:
  LinearReference(const LinearProblem& problem, int64_t rows);

  // |y - y64| / |y64| over the rows checked, every output.
  double error(const LinearContender& contender) const;
  // The same of one fp32 sum an output, in the order of the inputs.
  double plain_error() const;

 private:
  template <class Row>
  double error_of(const Row& row) const;

  const LinearProblem& problem_;
  std::vector<int64_t> rows_;
  std::vector<double> exact_;  // [rows checked, distinct outputs]
  std::vector<float> plain_;   // the same
  int64_t outputs_ = 0;        // distinct ones
};

}  // namespace heed::eval
