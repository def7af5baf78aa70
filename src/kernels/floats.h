// The functions of approx.h over arrays, for whoever is no tile. No include guard: each ISA's unit
// includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

// f(in) for n floats; the last vector goes through a padded copy.
template <class F>
HEED_INLINE void map_floats(float* out, const float* in, int n, F f) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, f(load(in + i)));
  if (i < n) {
    float tail[kLanes] = {};
    for (int j = i; j < n; ++j) tail[j - i] = in[j];
    store(tail, f(load(tail)));
    for (int j = i; j < n; ++j) out[j] = tail[j - i];
  }
}

void exp2_fast_floats(float* out, const float* in, int n) {
  map_floats(out, in, n, [](VF x) { return exp2_approx<4>(x); });
}
void exp2_precise_floats(float* out, const float* in, int n) {
  map_floats(out, in, n, [](VF x) { return exp2_approx<6>(x); });
}
void tanh_floats(float* out, const float* in, int n) {
  map_floats(out, in, n, [](VF x) { return tanh_approx(x); });
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
