// Weights of codes as floats, for products that round x to bf16 at most: a group is widened once
// for all rows of a call, into bf16 pairs where the ISA multiplies them, else into fp32. That is
// the layout of BF16 or F32 weights, so their tile multiplies it. No include guard: each ISA's unit
// includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

#if defined(HEED_BF16_DOT)
using WideOperand = Bf16Operand;
constexpr size_t kWideBytes = 2;

// Inputs 2 * pair and 2 * pair + 1 of the outputs of vector v.
HEED_INLINE void store_wide(uint8_t* block, int pair, int v, VF first, VF second) {
  store_words(block + pair * kRowOfWords + v * kLanes * 4, pair_lanes(first, second));
}
#else
using WideOperand = F32Operand;
constexpr size_t kWideBytes = 4;

HEED_INLINE void store_wide(uint8_t* block, int pair, int v, VF first, VF second) {
  float* to = reinterpret_cast<float*>(block) + 2 * pair * kGroupOutputs + v * kLanes;
  store(to, first);
  store(to + kGroupOutputs, second);
}
#endif
constexpr size_t kWideBlock = kBlockInputs * kGroupOutputs * kWideBytes;
static_assert(kWideBlock <= kMostWideBlock);

// scale * (code - zero) + min as scale * code + offset.
template <class W, int h, int j>
HEED_INLINE void widen_word(uint8_t* out, const uint8_t* block, int v, VF scale, VF offset) {
  const VI word = W::template word<h, j>(block, v);
  const VI byte = set1_word(0xFF);
  VF x[4];
  x[0] = to_float(and_words(word, byte));
  x[1] = to_float(and_words(shift_right<8>(word), byte));
  x[2] = to_float(and_words(shift_right<16>(word), byte));
  x[3] = to_float(shift_right<24>(word));
#pragma GCC unroll 4
  for (VF& value : x) value = fma(value, scale, offset);
  store_wide(out, 8 * h + 2 * j, v, x[0], x[1]);
  store_wide(out, 8 * h + 2 * j + 1, v, x[2], x[3]);
}

template <class W, int h>
HEED_INLINE void widen_half(uint8_t* out, const uint8_t* head, const uint8_t* block, int v) {
  constexpr int kWhich = W::kScales == 1 ? 0 : h;
  const VF scale = W::template scale<kWhich>(head, block, v);
  VF offset = mul(scale, set1(-static_cast<float>(W::kZero)));
  if constexpr (W::kMin) offset = add(W::min(head, block, v, scale), offset);
  widen_word<W, h, 0>(out, block, v, scale, offset);
  widen_word<W, h, 1>(out, block, v, scale, offset);
  widen_word<W, h, 2>(out, block, v, scale, offset);
  widen_word<W, h, 3>(out, block, v, scale, offset);
}

template <class W>
void widen_group(uint8_t* out, const uint8_t* group, int blocks) {
  for (int b = 0; b < blocks; ++b, out += kWideBlock) {
    const uint8_t* head = W::At::head(group, b);
    const uint8_t* block = W::At::block(group, b);
    prefetch_block<W>(block);
#pragma GCC unroll 1
    for (int v = 0; v < kGroupOutputs / kLanes; ++v) {
      widen_half<W, 0>(out, head, block, v);
      widen_half<W, 1>(out, head, block, v);
    }
  }
}

// The same from rows of fp32, `stride` floats apart, one an output; those that are missing become
// zeros.
void widen_rows(uint8_t* out, const float* rows, int64_t stride, int outputs, int blocks) {
  for (int b = 0; b < blocks; ++b, out += kWideBlock) {
    for (int v = 0; v < kGroupOutputs / kLanes; ++v) {
      for (int first = 0; first < kBlockInputs; first += kLanes) {
        VI x[kLanes];
#pragma GCC unroll 16
        for (int lane = 0; lane < kLanes; ++lane) {
          const int o = v * kLanes + lane;
          const float* from = rows + o * stride + b * kBlockInputs + first;
          x[lane] = o < outputs ? load_words(from) : set1_word(0);
        }
        transpose(x);
#pragma GCC unroll 8
        for (int i = 0; i < kLanes; i += 2) {
          store_wide(out, (first + i) / 2, v, as_float(x[i]), as_float(x[i + 1]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
