// SIMD vocabulary of AVX2 with FMA and F16C: 8 lanes, register tile 6 x 16.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define HEED_INLINE inline __attribute__((always_inline))

#include "kernels/simd/x86_quad.h"

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kLanes = 8;
constexpr int kPanel = 2;  // 12 accumulators, 2 B, 1 broadcast of 16 registers

using VF = __m256;
using VI = __m256i;

HEED_INLINE VF load(const float* p) { return _mm256_loadu_ps(p); }
HEED_INLINE void store(float* p, VF x) { _mm256_storeu_ps(p, x); }
HEED_INLINE VI load_words(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
HEED_INLINE void store_words(void* p, VI x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
HEED_INLINE VF set1(float x) { return _mm256_set1_ps(x); }
HEED_INLINE VI set1_word(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
HEED_INLINE VF zero() { return _mm256_setzero_ps(); }

HEED_INLINE VF add(VF a, VF b) { return _mm256_add_ps(a, b); }
HEED_INLINE VF sub(VF a, VF b) { return _mm256_sub_ps(a, b); }
HEED_INLINE VF mul(VF a, VF b) { return _mm256_mul_ps(a, b); }
HEED_INLINE VF div(VF a, VF b) { return _mm256_div_ps(a, b); }
HEED_INLINE VF fma(VF a, VF b, VF c) { return _mm256_fmadd_ps(a, b, c); }
HEED_INLINE VF max(VF a, VF b) { return _mm256_max_ps(a, b); }
HEED_INLINE VF abs(VF a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
HEED_INLINE float reduce_max(VF a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

HEED_INLINE bool any_greater(VF a, VF b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
}
HEED_INLINE VF select_bits(uint64_t mask, int first, VF a, VF b) {
  const VI lane_bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const VI bits = _mm256_and_si256(set1_word(static_cast<uint32_t>(mask >> first)), lane_bit);
  return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, lane_bit)));
}
HEED_INLINE VF select_less(VF x, VF y, VF if_less, VF otherwise) {
  return _mm256_blendv_ps(otherwise, if_less, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}
HEED_INLINE VF copy_sign(VF magnitude, VF sign) {
  const VF bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}

// 2^n is built in the exponent field: n = -127 gives the word 0, that is 0.0, so everything below
// 2^-126 underflows to 0 at once. max keeps a NaN in y because it returns its second operand then.
HEED_INLINE VF clamp_exponent(VF y) { return _mm256_max_ps(_mm256_set1_ps(-127.0f), y); }
HEED_INLINE VF round_nearest(VF x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
HEED_INLINE VF scale_by_power(VF p, VF n) {
  const VI biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
}

HEED_INLINE VI as_words(VF x) { return _mm256_castps_si256(x); }
HEED_INLINE VF as_float(VI x) { return _mm256_castsi256_ps(x); }
HEED_INLINE VI and_words(VI a, VI b) { return _mm256_and_si256(a, b); }
HEED_INLINE VI or_words(VI a, VI b) { return _mm256_or_si256(a, b); }
HEED_INLINE VI add_words(VI a, VI b) { return _mm256_add_epi32(a, b); }
template <int n>
HEED_INLINE VI shift_left(VI a) {
  return _mm256_slli_epi32(a, n);
}
template <int n>
HEED_INLINE VI shift_right(VI a) {
  return _mm256_srli_epi32(a, n);
}
HEED_INLINE VI select_number(VF x, VI a, VI b) {
  return _mm256_blendv_epi8(a, b, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}

HEED_INLINE VF load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
HEED_INLINE VF load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
HEED_INLINE void store_f16(uint16_t* p, VF x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// 8 x 8 words in registers.
HEED_INLINE void transpose(VI (&x)[kLanes]) {
  VI t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    x[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    x[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    x[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    x[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2x128_si256(x[i], x[i + 4], 0x20);
    t[i + 4] = _mm256_permute2x128_si256(x[i], x[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) x[i] = t[i];
}

// p[2i] = even[i], p[2i + 1] = odd[i].
HEED_INLINE void store_interleaved(uint32_t* p, VI even, VI odd) {
  const VI a = _mm256_unpacklo_epi32(even, odd), b = _mm256_unpackhi_epi32(even, odd);
  store_words(p, _mm256_permute2x128_si256(a, b, 0x20));
  store_words(p + 8, _mm256_permute2x128_si256(a, b, 0x31));
}

// --- bytes: products with quantised weights ---

constexpr int kProductRows = 4;  // of 16 registers: 8 sums, 2 B, 1 broadcast; fp32 in memory
constexpr int kProductVectors = 2;
constexpr int kOneRowVectors = 4;  // all outputs of a group: each line is read once, four chains
constexpr int kFloatRows = 4;      // of products with weights that are floats

// Keeps x in a register: gcc takes a load for free and repeats it for every use.
#define HEED_PIN(x) __asm__("" : "+x"(x))
#define HEED_LAMBDA_INLINE __attribute__((always_inline))

HEED_INLINE VI sub_words(VI a, VI b) { return _mm256_sub_epi32(a, b); }
HEED_INLINE VI xor_words(VI a, VI b) { return _mm256_xor_si256(a, b); }
HEED_INLINE VI max_words(VI a, VI b) { return _mm256_max_epi32(a, b); }
HEED_INLINE Quad max_of_lanes(VI a) {
  return max_quads(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}
HEED_INLINE VF to_float(VI a) { return _mm256_cvtepi32_ps(a); }
HEED_INLINE VI to_nearest_int(VF a) { return _mm256_cvtps_epi32(a); }
HEED_INLINE Quad low_bytes(const VI* a) {
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packs_epi32(a[0], a[1]), 0xD8);
  return _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}
HEED_INLINE VF load_u8(const uint8_t* p) {
  return to_float(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
HEED_INLINE VF load_i8(const uint8_t* p) {
  return to_float(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
HEED_INLINE VI lookup_bytes(const uint8_t* table, VI index) {
  return _mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))), index);
}
HEED_INLINE VI multiply_bytes(VI u, VI s) { return _mm256_maddubs_epi16(u, s); }
HEED_INLINE VI add_pairs(VI a, VI b) { return _mm256_add_epi16(a, b); }
HEED_INLINE VI sum_pairs(VI a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
HEED_INLINE VI abs_bytes(VI a) { return _mm256_abs_epi8(a); }
HEED_INLINE VI sign_bytes(VI a, VI s) { return _mm256_sign_epi8(a, s); }

HEED_INLINE void prefetch_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
