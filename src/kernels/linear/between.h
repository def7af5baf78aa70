// What stands between products: norms before them, activations behind. Every row by
// itself, so bits do not depend on the other rows. No include guard: each ISA's unit includes this
// text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

// x / sqrt(mean(x^2) + eps) * w (arXiv:1910.07467), n floats in vectors of kLanes. Four sums, added
// in a fixed order.
void rms_norm_row(float* out, const float* x, const float* w, int n, float eps) {
  constexpr int kSums = 4;
  VF sums[kSums] = {zero(), zero(), zero(), zero()};
  for (int i = 0; i < n; i += kSums * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) {
      const int at = i + s * kLanes;
      if (at >= n) break;
      const VF v = load_first(x + at, n - at);
      sums[s] = fma(v, v, sums[s]);
    }
  }
  float lanes[kLanes];
  store(lanes, add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  const VF scale = set1(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));
  for (int at = 0; at < n; at += kLanes) {
    const VF v = mul(load_first(x + at, n - at), scale);
    store_first(out + at, mul(v, load_first(w + at, n - at)), n - at);
  }
}

// x / (1 + 2^(minus_rate x)), with the power of -|x| only.
HEED_INLINE VF swish(VF x, float minus_rate) {
  const VF t = exp2_approx<6>(mul(abs(x), set1(minus_rate)));
  const VF one = set1(1.0f);
  return div(mul(x, select_less(x, zero(), t, one)), add(one, t));
}

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
HEED_INLINE VF gelu(VF x) {
  const VF inner =
      mul(mul(x, set1(0.7978845608028654f)), fma(mul(x, x), set1(0.044715f), set1(1.0f)));
  const VF half = mul(x, set1(0.5f));
  return fma(half, tanh_approx(inner), half);
}

void gate_silu(float* gate, const float* up, int n) {
  for (int i = 0; i < n; i += kLanes) {
    const VF x = load_first(gate + i, n - i);
    store_first(gate + i, mul(swish(x, -1.4426950408889634f), load_first(up + i, n - i)), n - i);
  }
}
void gate_gelu(float* gate, const float* up, int n) {
  for (int i = 0; i < n; i += kLanes) {
    const VF x = load_first(gate + i, n - i);
    store_first(gate + i, mul(gelu(x), load_first(up + i, n - i)), n - i);
  }
}

// x / (1 + e^(-1.702 x)) (u + 1), x at most 7 and u within -7 and 7 (arXiv:2508.10925). A NaN is
// neither below nor above a limit and stays.
void gate_clamped_silu(float* gate, const float* up, int n) {
  const VF limit = set1(7.0f), below = set1(-7.0f), one = set1(1.0f);
  for (int i = 0; i < n; i += kLanes) {
    VF x = load_first(gate + i, n - i), u = load_first(up + i, n - i);
    x = select_less(limit, x, limit, x);
    u = select_less(limit, u, limit, select_less(u, below, below, u));
    store_first(gate + i, mul(swish(x, -2.4554669595930156f), add(u, one)),
                n - i);  // 1.702 log2(e)
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
