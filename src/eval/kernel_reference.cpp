#include "eval/kernel_reference.h"

#include <ggml.h>

#include <algorithm>
#include <cmath>

namespace heed::eval {
namespace {

float rounded(float x, Format format) {
  switch (format) {
    case Format::kF32: return x;
    case Format::kF16: return ggml_fp16_to_fp32(ggml_fp32_to_fp16(x));
    case Format::kBf16: return ggml_bf16_to_fp32(ggml_fp32_to_bf16(x));
  }
  return x;
}

struct Head {
  const float* q;  // [d]
  const float* k;  // [keys, d], rows `stride` apart
  const float* v;
  int64_t keys, stride;
};

Head head_of(const KernelInputs& inputs, int64_t t, int h) {
  const KernelShape& s = inputs.shape;
  const int64_t width = static_cast<int64_t>(s.kv_heads) * s.d;
  const size_t column = static_cast<size_t>(h / s.group) * static_cast<size_t>(s.d);
  return {&inputs.q[static_cast<size_t>((t * s.heads() + h) * s.d)], &inputs.k[column],
          &inputs.v[column], s.decode ? s.length : t + 1, width};
}

// T sums; `round` is applied to everything that is stored, `round_sum` to what is added up.
template <class T, class Round, class RoundSum>
void attend_row(const Head& head, int d, Round round, RoundSum round_sum, double* out) {
  std::vector<T> p(static_cast<size_t>(head.keys));
  const T scale = T(1) / std::sqrt(static_cast<T>(d));
  T largest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < head.keys; ++j) {
    T dot = 0;
    for (int c = 0; c < d; ++c) {
      dot += static_cast<T>(round(head.q[c])) * static_cast<T>(round(head.k[j * head.stride + c]));
    }
    p[static_cast<size_t>(j)] = dot * scale;
    largest = std::max(largest, dot * scale);
  }
  std::vector<T> row(static_cast<size_t>(d), T(0));
  for (int64_t j = 0; j < head.keys; ++j) {
    const T weight = std::exp(p[static_cast<size_t>(j)] - largest);
    sum += weight;
    const T stored = static_cast<T>(round(weight));
    for (int c = 0; c < d; ++c) {
      T& value = row[static_cast<size_t>(c)];
      value = static_cast<T>(
          round_sum(value + stored * static_cast<T>(round(head.v[j * head.stride + c]))));
    }
  }
  for (int c = 0; c < d; ++c) out[c] = static_cast<double>(row[static_cast<size_t>(c)] / sum);
}

}  // namespace

std::vector<double> exact_row(const KernelInputs& inputs, int64_t t) {
  const KernelShape& s = inputs.shape;
  std::vector<double> out(static_cast<size_t>(s.heads() * s.d));
  const auto as_is = [](auto x) { return x; };
  for (int h = 0; h < s.heads(); ++h) {
    attend_row<double>(head_of(inputs, t, h), s.d, as_is, as_is,
                       &out[static_cast<size_t>(h * s.d)]);
  }
  return out;
}

std::vector<double> plain_row(const KernelInputs& inputs, int64_t t, Format format, Sums sums) {
  const KernelShape& s = inputs.shape;
  std::vector<double> out(static_cast<size_t>(s.heads() * s.d));
  const auto store = [format](float x) { return rounded(x, format); };
  const auto keep = [format, sums](float x) {
    return sums == Sums::kStored ? rounded(x, format) : x;
  };
  for (int h = 0; h < s.heads(); ++h) {
    attend_row<float>(head_of(inputs, t, h), s.d, store, keep, &out[static_cast<size_t>(h * s.d)]);
  }
  return out;
}

double relative_error(std::span<const double> exact, std::span<const double> other) {
  double largest = 0, magnitude = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    largest = std::max(largest, std::fabs(exact[i] - other[i]));
    magnitude += std::fabs(exact[i]);
  }
  return largest / (magnitude / static_cast<double>(exact.size()));
}

}  // namespace heed::eval
