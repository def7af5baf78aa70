// Rows of x to 8 bits with a scale per 32 inputs, in the order in which the tile broadcasts them.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kBlockVectors = kBlockInputs / kLanes;

// Below this, 127 / max |x| would overflow: such a block counts as zeros.
constexpr float kSmallestScaled = 1e-36f;

// One row's 32 inputs. Codes go from -127 to 127, so the scale is max |x| / 127. The maximum is
// that of the words, in which a NaN is larger than everything: it becomes the scale and with it the
// result; an infinity likewise.
HEED_INLINE void quantize_block(InputBlock& out, int row, const float* x) {
  VF in[kBlockVectors];
  VI top = set1_word(0);
#pragma GCC unroll 8
  for (int i = 0; i < kBlockVectors; ++i) {
    in[i] = load(x + i * kLanes);
    top = max_words(top, as_words(abs(in[i])));
  }
  const float most = largest_float(top);
  const float inverse = most > kSmallestScaled ? 127.0f / most : 0.0f;
  int8_t codes[kBlockInputs];
  VI sums[2] = {set1_word(0), set1_word(0)};
#pragma GCC unroll 8
  for (int i = 0; i < kBlockVectors; ++i) {
    const VI q = to_nearest_int(mul(in[i], set1(inverse)));
    store_low_bytes(codes + i * kLanes, q);
    sums[2 * i / kBlockVectors] = add_words(sums[2 * i / kBlockVectors], q);
  }
  // Modulo 2^32: what is not finite gives codes without meaning, and a scale that says so.
  const auto high = static_cast<uint32_t>(sum_words(sums[1]));
  const uint32_t sum = static_cast<uint32_t>(sum_words(sums[0])) + high;
  for (int j = 0; j < 8; ++j) __builtin_memcpy(&out.q[j][row], codes + 4 * j, 4);
  out.minus_sum[row] = static_cast<int32_t>(0u - sum);
  out.minus_high[row] = static_cast<int32_t>(0u - high);
  out.scale[row] = most / 127.0f;
  out.sum[row] = out.scale[row] * static_cast<float>(static_cast<int32_t>(sum));
}

// The rows that are missing become zeros.
void quantize_rows(void* to, const float* x, int64_t stride, int rows, int blocks) {
  auto* out = static_cast<InputBlock*>(to);
  if (rows < kInputRows) __builtin_memset(out, 0, sizeof(*out) * static_cast<size_t>(blocks));
  for (int b = 0; b < blocks; ++b) {
    for (int r = 0; r < rows; ++r) quantize_block(out[b], r, x + r * stride + b * kBlockInputs);
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
