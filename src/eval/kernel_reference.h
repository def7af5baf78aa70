// The answer in fp64, row by row, and what rounding inputs and weights to a storage format costs a
// plain implementation: the yardstick for the error of a fast one.
#pragma once

#include <span>
#include <vector>

#include "eval/kernel_shape.h"

namespace heed::eval {

// Output [H, d] of query row t.
std::vector<double> exact_row(const KernelInputs& inputs, int64_t t);

// What the running sums over the values are kept in.
enum class Sums { kF32, kStored };

// The same sums over q, k, v rounded to `format`, probabilities rounded to it too, added up in
// fp32, or with every sum over the values rounded to the format as well.
std::vector<double> plain_row(const KernelInputs& inputs, int64_t t, Format format,
                              Sums sums = Sums::kF32);

// What a fast implementation may be off by where a plain one in the same format is off by `plain`.
constexpr double error_limit(double plain) { return 2 * plain; }

// Largest difference over the mean magnitude of the answer.
double relative_error(std::span<const double> exact, std::span<const double> other);

}  // namespace heed::eval
