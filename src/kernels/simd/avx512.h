// SIMD vocabulary of AVX-512 (F, BW, DQ, VL) with F16C and FMA: 16 lanes, register tile 6 x 64.
// The other vocabularies define the same names; the tile texts use nothing else.
#pragma once

// gcc 12 warns inside its own intrinsics (bug 105593), at the place where they are inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define HEED_INLINE inline __attribute__((always_inline))

#include "kernels/simd/x86_quad.h"

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kLanes = 16;
constexpr int kPanel = 4;  // vectors of B in the register tile: 24 accumulators, 4 B, 1 broadcast

using VF = __m512;   // fp32
using VI = __m512i;  // 32-bit integers

HEED_INLINE VF load(const float* p) { return _mm512_loadu_ps(p); }
HEED_INLINE void store(float* p, VF x) { _mm512_storeu_ps(p, x); }
HEED_INLINE VI load_words(const void* p) { return _mm512_loadu_si512(p); }
HEED_INLINE void store_words(void* p, VI x) { _mm512_storeu_si512(p, x); }
HEED_INLINE VF set1(float x) { return _mm512_set1_ps(x); }
HEED_INLINE VI set1_word(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
HEED_INLINE VF zero() { return _mm512_setzero_ps(); }

HEED_INLINE VF add(VF a, VF b) { return _mm512_add_ps(a, b); }
HEED_INLINE VF sub(VF a, VF b) { return _mm512_sub_ps(a, b); }
HEED_INLINE VF mul(VF a, VF b) { return _mm512_mul_ps(a, b); }
HEED_INLINE VF div(VF a, VF b) { return _mm512_div_ps(a, b); }
HEED_INLINE VF fma(VF a, VF b, VF c) { return _mm512_fmadd_ps(a, b, c); }
HEED_INLINE VF max(VF a, VF b) { return _mm512_max_ps(a, b); }
HEED_INLINE VF abs(VF a) { return _mm512_abs_ps(a); }
HEED_INLINE float reduce_max(VF a) { return _mm512_reduce_max_ps(a); }

HEED_INLINE bool any_greater(VF a, VF b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }
// Lane i of a where bit (first + i) of mask is set, else b.
HEED_INLINE VF select_bits(uint64_t mask, int first, VF a, VF b) {
  return _mm512_mask_blend_ps(static_cast<__mmask16>(mask >> first), b, a);
}
HEED_INLINE VF select_less(VF x, VF y, VF if_less, VF otherwise) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), otherwise, if_less);
}
HEED_INLINE VF copy_sign(VF magnitude, VF sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
      set1_word(0x80000000u), _mm512_castps_si512(sign), _mm512_castps_si512(magnitude), 0xCA));
}

// The nearest integer, and p * 2^n: vscalef underflows gradually and turns n = -inf into 0 even
// where p is NaN, so nothing has to be clamped.
HEED_INLINE VF round_nearest(VF x) { return _mm512_roundscale_ps(x, 0); }
HEED_INLINE VF clamp_exponent(VF y) { return y; }
HEED_INLINE VF scale_by_power(VF p, VF n) { return _mm512_scalef_ps(p, n); }

HEED_INLINE VI as_words(VF x) { return _mm512_castps_si512(x); }
HEED_INLINE VF as_float(VI x) { return _mm512_castsi512_ps(x); }
HEED_INLINE VI and_words(VI a, VI b) { return _mm512_and_si512(a, b); }
HEED_INLINE VI or_words(VI a, VI b) { return _mm512_or_si512(a, b); }
HEED_INLINE VI add_words(VI a, VI b) { return _mm512_add_epi32(a, b); }
template <int n>
HEED_INLINE VI shift_left(VI a) {
  return _mm512_slli_epi32(a, n);
}
template <int n>
HEED_INLINE VI shift_right(VI a) {
  return _mm512_srli_epi32(a, n);
}
// Lane of a where x is a number, of b where x is NaN.
HEED_INLINE VI select_number(VF x, VI a, VI b) {
  return _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), a, b);
}

HEED_INLINE VF load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
HEED_INLINE VF load_bf16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
HEED_INLINE void store_f16(uint16_t* p, VF x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// 16 x 16 words in registers: 64 shuffles for 256 words.
HEED_INLINE void transpose(VI (&x)[kLanes]) {
  VI t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD);
    t[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    x[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
    x[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    x[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
  }
}

// p[2i] = even[i], p[2i + 1] = odd[i].
HEED_INLINE void store_interleaved(uint32_t* p, VI even, VI odd) {
  const VI low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const VI high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  store_words(p, _mm512_permutex2var_epi32(even, low, odd));
  store_words(p + 16, _mm512_permutex2var_epi32(even, high, odd));
}

// --- bytes: products with quantised weights ---

constexpr int kProductRows =
    4;  // 4 rows x 2 vectors: 8 integer sums, 8 fp32 sums, 2 B, 1 broadcast
constexpr int kProductVectors = 2;
constexpr int kOneRowVectors = 2;
constexpr int kFloatRows = 12;  // of products with weights that are floats: 24 sums

// Keeps x in a register: gcc takes a load for free and repeats it for every use.
#define HEED_PIN(x) __asm__("" : "+v"(x))
#define HEED_LAMBDA_INLINE __attribute__((always_inline))

HEED_INLINE VI sub_words(VI a, VI b) { return _mm512_sub_epi32(a, b); }
HEED_INLINE VI xor_words(VI a, VI b) { return _mm512_xor_si512(a, b); }
HEED_INLINE VI max_words(VI a, VI b) { return _mm512_max_epi32(a, b); }
// Each word the largest of four, as signed words.
HEED_INLINE Quad max_of_lanes(VI a) {
  const __m256i x = _mm256_max_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  return max_quads(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
HEED_INLINE VF to_float(VI a) { return _mm512_cvtepi32_ps(a); }
HEED_INLINE VI to_nearest_int(VF a) { return _mm512_cvtps_epi32(a); }
// 16 words from -128 to 127 as bytes.
HEED_INLINE Quad low_bytes(const VI* a) { return _mm512_cvtsepi32_epi8(a[0]); }
HEED_INLINE VF load_u8(const uint8_t* p) {
  return to_float(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
HEED_INLINE VF load_i8(const uint8_t* p) {
  return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
// table[index] for each byte of indices below 16.
HEED_INLINE VI lookup_bytes(const uint8_t* table, VI index) {
  return _mm512_shuffle_epi8(
      _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table))), index);
}
// Unsigned times signed bytes, neighbours added to 16 bits (saturating; callers stay below).
HEED_INLINE VI multiply_bytes(VI u, VI s) { return _mm512_maddubs_epi16(u, s); }
HEED_INLINE VI add_pairs(VI a, VI b) { return _mm512_add_epi16(a, b); }
HEED_INLINE VI sum_pairs(VI a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }
HEED_INLINE VI abs_bytes(VI a) { return _mm512_abs_epi8(a); }
// a with the sign of s; where s is 0 the value does not matter.
HEED_INLINE VI sign_bytes(VI a, VI s) {
  return _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(s), _mm512_setzero_si512(), a);
}

HEED_INLINE void prefetch_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
