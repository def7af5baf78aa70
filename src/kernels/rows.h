// Small operations on single rows: merge of partial results, rotation.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

void merge_rows(float* acc, const float* part, float a, float b, int n) {
  for (int i = 0; i < n; ++i) acc[i] = a * acc[i] + b * part[i];
}

void scale_row(float* out, const float* in, float scale, int n) {
  for (int i = 0; i < n; ++i) out[i] = in[i] * scale;
}

void rotate_row(float* out, const float* in, const float* cos, const float* sin, int n_rot,
                bool adjacent, int n) {
  const int half = n_rot / 2;
  if (adjacent) {
    for (int i = 0; i < half; ++i) {
      const float x = in[2 * i], y = in[2 * i + 1];
      out[2 * i] = x * cos[i] - y * sin[i];
      out[2 * i + 1] = x * sin[i] + y * cos[i];
    }
  } else {
    for (int i = 0; i < half; ++i) {
      const float x = in[i], y = in[i + half];
      out[i] = x * cos[i] - y * sin[i];
      out[i + half] = x * sin[i] + y * cos[i];
    }
  }
  for (int i = n_rot; i < n; ++i) out[i] = in[i];
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
