// One matrix product of `heed bench linears`: shapes, inputs, and what both engines implement.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/contender.h"
#include "heed/status.h"
#include "linear/weight.h"

namespace heed::eval {

// Up to this many rows a weight is read once for little work: rounds go through copies of it, so
// that no cache holds what is read next.
inline constexpr int64_t kStreamedRows = 16;

struct LinearSize {
  int64_t inputs = 0, outputs = 0;
  bool operator==(const LinearSize&) const = default;
};

struct LinearShape {
  WeightType type = WeightType::kQ4_0;
  LinearSize size;
  int64_t rows = 0;

  bool streamed() const { return rows <= kStreamedRows; }
  uint64_t file_bytes() const;  // of the weight
  // Multiply-adds count two.
  double operations() const;
  std::string name() const;  // "Q4_K 2048x8192, 512 rows"
};

ggml_type ggml_type_of(WeightType type);

// The same numbers for every contender. A few rows of the weight and of x are drawn and repeated:
// quantising takes longer than everything that is timed, and no engine looks at the values.
struct LinearProblem {
  static constexpr int64_t kDistinctOutputs = 256, kDistinctRows = 64;
  WeightType type = WeightType::kQ4_0;
  LinearSize size;
  int64_t most_rows = 0;
  std::vector<uint8_t> file;   // [outputs] rows as a GGUF file has them
  std::vector<float> decoded;  // [kDistinctOutputs, inputs]: the values of the first rows
  std::vector<float> x;        // [most_rows, inputs]
};
LinearProblem make_problem(WeightType type, LinearSize size, int64_t most_rows);
uint64_t problem_bytes(WeightType type, LinearSize size, int64_t most_rows);

// An engine on one problem. Bringing x into the form that its kernels read is part of a round.
class LinearContender : public Contender {
 public:
  // Rounds from here on multiply the first `rows` rows of x; with few rows, by each copy in turn.
  virtual Status begin(int64_t rows) = 0;
  // Row t of the last round, [outputs].
  virtual std::span<const float> output(int64_t t) const = 0;
};

// `copies` of the weight in memory of their own.
Result<std::unique_ptr<LinearContender>> make_heed_linear(const LinearProblem& problem,
                                                          Precision precision, int64_t copies,
                                                          int threads);
enum class GgmlLayout { kPlain, kRepacked };
// Null when ggml has no rearranged layout for this weight here.
Result<std::unique_ptr<LinearContender>> make_ggml_linear(const LinearProblem& problem,
                                                          GgmlLayout layout, int64_t copies,
                                                          int threads);
bool has_ggml_layout(WeightType type, LinearSize size, GgmlLayout layout);

}  // namespace heed::eval
