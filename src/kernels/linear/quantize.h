// Rows of x to 8 bits with a scale per 32 inputs, in the order in which the tile broadcasts them.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kBlockVectors = kBlockInputs / kLanes;

// Below this, 127 / max |x| would overflow: such a block counts as zeros.
constexpr float kSmallestScaled = 1e-36f;

// One float of each of four rows.
typedef float QuadFloats __attribute__((vector_size(16)));
typedef int32_t QuadWords __attribute__((vector_size(16)));
template <class To>
HEED_INLINE To quad_as(Quad x) {
  To out;
  __builtin_memcpy(&out, &x, sizeof(out));
  return out;
}
template <class T>
HEED_INLINE void store_quad(T (&to)[kInputRows], const auto& x) {
  static_assert(sizeof(x) == sizeof(to));
  __builtin_memcpy(to, &x, sizeof(to));
}

// 32 inputs of R rows, `stride` floats apart; the rows that are missing become zeros. Codes go from
// -127 to 127, so the scale is max |x| / 127. The maximum is that of the words, in which a NaN is
// larger than everything: it becomes the scale and with it the result; an infinity likewise. What
// is not finite gives codes without meaning, and a scale that says so.
template <int R>
HEED_INLINE void quantize_block(InputBlock& out, const float* x, int64_t stride) {
  Quad tops[kInputRows] = {};
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    VI top = set1_word(0);
#pragma GCC unroll 8
    for (int i = 0; i < kBlockVectors; ++i) {
      top = max_words(top, as_words(abs(load(x + r * stride + i * kLanes))));
    }
    tops[r] = max_of_lanes(top);
  }
  transpose_quads(tops);
  const auto most =
      quad_as<QuadFloats>(max_quads(max_quads(tops[0], tops[1]), max_quads(tops[2], tops[3])));
  const QuadFloats none = {};
  const QuadFloats inverse = most > kSmallestScaled ? 127.0f / most : none;

  Quad codes[2][kInputRows] = {};  // of the first and the last 16 inputs
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    VI q[kBlockVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kBlockVectors; ++i) {
      q[i] = to_nearest_int(mul(load(x + r * stride + i * kLanes), set1(inverse[r])));
    }
    codes[0][r] = low_bytes(q);
    codes[1][r] = low_bytes(q + kBlockVectors / 2);
  }
  Quad sums[2] = {};
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    transpose_quads(codes[h]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      store_quad(out.q[4 * h + j], codes[h][j]);
      sums[h] = add_bytes(sums[h], codes[h][j]);
    }
  }
  const auto high = quad_as<QuadWords>(sums[1]);
  const QuadWords sum = quad_as<QuadWords>(sums[0]) + high;
  const QuadFloats scale = most / 127.0f;
  store_quad(out.minus_sum, -sum);
  store_quad(out.minus_high, -high);
  store_quad(out.scale, scale);
  store_quad(out.sum, scale * __builtin_convertvector(sum, QuadFloats));
}

template <int R>
HEED_INLINE void quantize_blocks(InputBlock* out, const float* x, int64_t stride, int blocks) {
  for (int b = 0; b < blocks; ++b) quantize_block<R>(out[b], x + b * kBlockInputs, stride);
}

void quantize_rows(void* to, const float* x, int64_t stride, int rows, int blocks) {
  auto* out = static_cast<InputBlock*>(to);
  switch (rows) {
    case 1: quantize_blocks<1>(out, x, stride, blocks); break;
    case 2: quantize_blocks<2>(out, x, stride, blocks); break;
    case 3: quantize_blocks<3>(out, x, stride, blocks); break;
    default: quantize_blocks<4>(out, x, stride, blocks); break;
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
