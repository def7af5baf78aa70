// exp2 and tanh on vectors, with stated errors (tests/kernels/approx_test.cpp samples them,
// tests/kernels/full/ takes every float). No include guard: each ISA's unit includes this
// text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

// 2^y for y <= 0: y = n + r, |r| <= 1/2, minimax polynomial in r with the constant fixed to 1, so
// 2^0 is exactly 1. Relative error, rounding included, where the result is a normal number:
//   degree 4: <= 3.0e-6 (the fit alone: 2.82e-6); bf16 weights are rounded to 2e-3 afterwards;
//   degree 6: <= 1.6e-7 (the fit alone: 2.0e-9).
// Below 2^-126: 0 or a denormal. -inf gives 0, NaN gives NaN.
template <int kDegree>
HEED_INLINE VF exp2_approx(VF y) {
  static_assert(kDegree == 4 || kDegree == 6);
  y = clamp_exponent(y);
  const VF n = round_nearest(y);
  const VF r = sub(y, n);
  VF p;
  if constexpr (kDegree == 4) {
    p = set1(9.582852944731712e-3f);
    p = fma(p, r, set1(5.5906426161527634e-2f));
    p = fma(p, r, set1(2.4024099111557007e-1f));
    p = fma(p, r, set1(6.931241750717163e-1f));
  } else {
    p = set1(1.5353361959569156e-4f);
    p = fma(p, r, set1(1.3398875016719103e-3f));
    p = fma(p, r, set1(9.61843691766262e-3f));
    p = fma(p, r, set1(5.5503323674201965e-2f));
    p = fma(p, r, set1(2.4022647738456726e-1f));
    p = fma(p, r, set1(6.931471824645996e-1f));
  }
  p = fma(p, r, set1(1.0f));
  return scale_by_power(p, n);
}

// tanh: below 0.625 an odd polynomial (minimax, 4.4e-9), above it (1 - t) / (1 + t), t = e^(-2|x|),
// which has no cancellation there. Relative error <= 4e-7; +-inf gives +-1, NaN gives NaN.
HEED_INLINE VF tanh_approx(VF x) {
  const VF a = abs(x);
  const VF z = mul(a, a);
  VF p = set1(-5.704986397176981e-3f);
  p = fma(p, z, set1(2.0639086142182350e-2f));
  p = fma(p, z, set1(-5.373971536755562e-2f));
  p = fma(p, z, set1(1.3331441581249237e-1f));
  p = fma(p, z, set1(-3.333328068256378e-1f));
  const VF small = fma(mul(p, z), a, a);
  const VF t = exp2_approx<6>(mul(a, set1(-2.8853900817779268f)));  // -2 log2(e)
  const VF large = div(sub(set1(1.0f), t), add(set1(1.0f), t));
  return copy_sign(select_less(a, set1(0.625f), small, large), x);
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
