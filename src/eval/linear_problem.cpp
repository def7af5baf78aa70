#include "eval/linear_problem.h"

#include <algorithm>
#include <cstring>

#include "base/random.h"
#include "base/text.h"
#include "model/linear_choice.h"

namespace heed::eval {
namespace {

constexpr float kWeightDeviation = 0.05f;

std::vector<float> normal(uint64_t stream, int64_t n, float deviation) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = deviation * static_cast<float>(random_normal(stream, i));
  }
  return values;
}

// Rows of `row` elements: the first `distinct` over and over until there are `rows`.
template <class T>
void repeat_rows(std::vector<T>& data, size_t row, int64_t distinct, int64_t rows) {
  data.resize(row * static_cast<size_t>(rows));
  for (int64_t done = distinct; done < rows; done += distinct) {
    const auto more = static_cast<size_t>(std::min(distinct, rows - done));
    std::memcpy(&data[row * static_cast<size_t>(done)], data.data(), sizeof(T) * row * more);
  }
}

}  // namespace

uint64_t LinearShape::file_bytes() const {
  return static_cast<uint64_t>(file_row_bytes(type, size.inputs) * size.outputs);
}

double LinearShape::operations() const {
  return 2.0 * static_cast<double>(size.inputs) * static_cast<double>(size.outputs) *
         static_cast<double>(rows);
}

std::string LinearShape::name() const {
  return cat(weight_type_name(type), " ", size.inputs, "x", size.outputs, ", ", rows,
             rows == 1 ? " row" : " rows");
}

ggml_type ggml_type_of(WeightType type) {
  int at = 0;
  while (packed_weight_type(static_cast<ggml_type>(at)) != type) ++at;
  return static_cast<ggml_type>(at);
}

LinearProblem make_problem(WeightType type, LinearSize size, int64_t most_rows) {
  LinearProblem p{type, size, most_rows, {}, {}, {}};
  const ggml_type file_type = ggml_type_of(type);
  const int64_t outputs = std::min(LinearProblem::kDistinctOutputs, size.outputs);
  const auto row = static_cast<size_t>(file_row_bytes(type, size.inputs));
  p.decoded = normal(1, outputs * size.inputs, kWeightDeviation);
  p.file.resize(row * static_cast<size_t>(outputs));
  ggml_quantize_chunk(file_type, p.decoded.data(), p.file.data(), 0, outputs, size.inputs, nullptr);
  // F32 has no decoder: what was stored is what was drawn.
  if (const auto decode = ggml_get_type_traits(file_type)->to_float; decode != nullptr) {
    decode(p.file.data(), p.decoded.data(), outputs * size.inputs);
  }
  repeat_rows(p.file, row, outputs, size.outputs);
  const int64_t rows = std::min(LinearProblem::kDistinctRows, most_rows);
  p.x = normal(2, rows * size.inputs, 1.0f);
  repeat_rows(p.x, static_cast<size_t>(size.inputs), rows, most_rows);
  return p;
}

uint64_t problem_bytes(WeightType type, LinearSize size, int64_t most_rows) {
  const int64_t floats = (LinearProblem::kDistinctOutputs + most_rows) * size.inputs;
  return LinearShape{type, size, most_rows}.file_bytes() +
         sizeof(float) * static_cast<uint64_t>(floats);
}

}  // namespace heed::eval
