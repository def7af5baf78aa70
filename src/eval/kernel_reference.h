// The answer in fp64, row by row, and what rounding inputs and weights to a storage format costs a
// plain implementation: the yardstick for the error of a fast one.
#pragma once

#include <span>
#include <vector>

#include "eval/kernel_shape.h"

namespace heed::eval {

// Output [H, d] of query row t.
std::vector<double> exact_row(const KernelInputs& inputs, int64_t t);

// The same sums over q, k, v rounded to `format`, probabilities rounded to it too, added up in
// fp32.
std::vector<double> plain_row(const KernelInputs& inputs, int64_t t, Format format);

// Largest difference over the mean magnitude of the answer.
double relative_error(std::span<const double> exact, std::span<const double> other);

}  // namespace heed::eval
