// SIMD vocabulary without an instruction set: four lanes as a compiler vector type, which any
// target lowers to what it has. fma is two roundings here.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HEED_INLINE inline __attribute__((always_inline))

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kLanes = 4;
constexpr int kPanel = 2;

typedef float VF __attribute__((vector_size(16)));
typedef uint32_t VI __attribute__((vector_size(16)));
typedef int32_t VS __attribute__((vector_size(16)));

template <class To, class From>
HEED_INLINE To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To out;
  __builtin_memcpy(&out, &x, sizeof(out));
  return out;
}

HEED_INLINE VF load(const float* p) {
  VF x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
HEED_INLINE void store(float* p, VF x) { __builtin_memcpy(p, &x, sizeof(x)); }
HEED_INLINE VI load_words(const void* p) {
  VI x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
HEED_INLINE void store_words(void* p, VI x) { __builtin_memcpy(p, &x, sizeof(x)); }
HEED_INLINE VF set1(float x) { return VF{x, x, x, x}; }
HEED_INLINE VI set1_word(uint32_t x) { return VI{x, x, x, x}; }
HEED_INLINE VF zero() { return VF{}; }

HEED_INLINE VI as_words(VF x) { return bits<VI>(x); }
HEED_INLINE VF as_float(VI x) { return bits<VF>(x); }
HEED_INLINE VI and_words(VI a, VI b) { return a & b; }
HEED_INLINE VI or_words(VI a, VI b) { return a | b; }
HEED_INLINE VI add_words(VI a, VI b) { return a + b; }
template <int n>
HEED_INLINE VI shift_left(VI a) {
  return a << n;
}
template <int n>
HEED_INLINE VI shift_right(VI a) {
  return a >> n;
}
HEED_INLINE VI choose(VI mask, VI a, VI b) { return (a & mask) | (b & ~mask); }
HEED_INLINE VI select_number(VF x, VI a, VI b) { return choose(bits<VI>(x == x), a, b); }

HEED_INLINE VF add(VF a, VF b) { return a + b; }
HEED_INLINE VF sub(VF a, VF b) { return a - b; }
HEED_INLINE VF mul(VF a, VF b) { return a * b; }
HEED_INLINE VF div(VF a, VF b) { return a / b; }
HEED_INLINE VF fma(VF a, VF b, VF c) { return a * b + c; }
HEED_INLINE VF select_less(VF x, VF y, VF if_less, VF otherwise) {
  return as_float(choose(bits<VI>(x < y), as_words(if_less), as_words(otherwise)));
}
// As x86: the second operand where either is NaN.
HEED_INLINE VF max(VF a, VF b) { return select_less(b, a, a, b); }
HEED_INLINE VF abs(VF a) { return as_float(as_words(a) & 0x7FFFFFFFu); }
HEED_INLINE float reduce_max(VF a) {
  const float x = a[0] > a[1] ? a[0] : a[1], y = a[2] > a[3] ? a[2] : a[3];
  return x > y ? x : y;
}
HEED_INLINE bool any_greater(VF a, VF b) {
  const VS g = a > b;
  return (g[0] | g[1] | g[2] | g[3]) != 0;
}
HEED_INLINE VF select_bits(uint64_t mask, int first, VF a, VF b) {
  const VI lane_bit = {1, 2, 4, 8};
  const VI set = set1_word(static_cast<uint32_t>(mask >> first) & 15u) & lane_bit;
  return as_float(choose(bits<VI>(set == lane_bit), as_words(a), as_words(b)));
}
HEED_INLINE VF copy_sign(VF magnitude, VF sign) {
  return as_float((as_words(magnitude) & 0x7FFFFFFFu) | (as_words(sign) & 0x80000000u));
}

// See avx2.h: 2^-127 is the word 0. Adding 1.5 * 2^23 rounds to the nearest integer.
HEED_INLINE VF clamp_exponent(VF y) { return max(set1(-127.0f), y); }
HEED_INLINE VF round_nearest(VF x) { return (x + 12582912.0f) - 12582912.0f; }
HEED_INLINE VF scale_by_power(VF p, VF n) {
  const VI n_plus_magic = as_words(n + 12582912.0f);  // low bits hold n
  return p * as_float((n_plus_magic - 0x4B400000u + 127u) << 23);
}

// f16 by bit arithmetic: 2^112 moves a half's exponent (and denormals) to fp32's.
HEED_INLINE VF load_f16(const uint16_t* p) {
  const VI h = {p[0], p[1], p[2], p[3]};
  const VI magnitude = (h & 0x7FFFu) << 13;
  const VI number = as_words(as_float(magnitude) * 0x1p112f);
  const VI special = bits<VI>(magnitude >= 0x0F800000u);  // inf, NaN: exponent 31
  return as_float(number | (special & 0x7F800000u) | ((h & 0x8000u) << 16));
}
HEED_INLINE VF load_bf16(const uint16_t* p) { return as_float(VI{p[0], p[1], p[2], p[3]} << 16); }
HEED_INLINE uint16_t half_bits(float x) {
  const uint32_t u = bits<uint32_t>(x);
  const uint32_t sign = (u >> 16) & 0x8000u, a = u & 0x7FFFFFFFu;
  if (a > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | ((a >> 13) & 0x1FFu));
  if (a >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 2^16 and more, inf
  if (a < 0x38800000u) {  // below 2^-14: the sum with 0.5 has the denormal's bits at its end
    const float shifted = bits<float>(a) + 0.5f;
    return static_cast<uint16_t>(sign | (bits<uint32_t>(shifted) - 0x3F000000u));
  }
  const uint32_t rounded =
      a - 0x38000000u + 0xFFFu + ((a >> 13) & 1u);  // to even; may carry to inf
  return static_cast<uint16_t>(sign | (rounded >> 13));
}
HEED_INLINE void store_f16(uint16_t* p, VF x) {
  for (int i = 0; i < kLanes; ++i) p[i] = half_bits(x[i]);
}

HEED_INLINE void transpose(VI (&x)[kLanes]) {
  const VI a = {x[0][0], x[1][0], x[2][0], x[3][0]}, b = {x[0][1], x[1][1], x[2][1], x[3][1]};
  const VI c = {x[0][2], x[1][2], x[2][2], x[3][2]}, d = {x[0][3], x[1][3], x[2][3], x[3][3]};
  x[0] = a;
  x[1] = b;
  x[2] = c;
  x[3] = d;
}

HEED_INLINE void store_interleaved(uint32_t* p, VI even, VI odd) {
  for (int i = 0; i < kLanes; ++i) {
    p[2 * i] = even[i];
    p[2 * i + 1] = odd[i];
  }
}

// --- bytes: products with quantised weights ---

constexpr int kProductRows = 2;
constexpr int kProductVectors = 2;
constexpr int kOneRowVectors = 2;
constexpr int kFloatRows = 4;  // of products with weights that are floats

// Keeps x in a register: gcc takes a load for free and repeats it for every use.
#define HEED_PIN(x) __asm__("" : "+x"(x))
#define HEED_LAMBDA_INLINE __attribute__((always_inline))

HEED_INLINE VI sub_words(VI a, VI b) { return a - b; }
HEED_INLINE VI xor_words(VI a, VI b) { return a ^ b; }
HEED_INLINE VI max_words(VI a, VI b) { return choose(bits<VI>(a > b), a, b); }

using Quad = VI;
HEED_INLINE Quad max_quads(Quad a, Quad b) { return max_words(a, b); }
HEED_INLINE void transpose_quads(Quad (&x)[4]) { transpose(x); }
HEED_INLINE Quad add_bytes(Quad sum, Quad bytes) {
  const VS b = bits<VS>(bytes);
  return sum + bits<VI>((b << 24) >> 24) + bits<VI>((b << 16) >> 24) + bits<VI>((b << 8) >> 24) +
         bits<VI>(b >> 24);
}
HEED_INLINE Quad max_of_lanes(VI a) { return a; }
HEED_INLINE Quad low_bytes(const VI* a) {
  Quad out;
  for (int i = 0; i < 4; ++i) {
    out[i] = (a[i][0] & 255) | (a[i][1] & 255) << 8 | (a[i][2] & 255) << 16 | a[i][3] << 24;
  }
  return out;
}
HEED_INLINE VF to_float(VI a) { return __builtin_convertvector(bits<VS>(a), VF); }
HEED_INLINE VI to_nearest_int(VF a) {  // |a| < 2^22
  return as_words(a + 12582912.0f) - 0x4B400000u;
}
HEED_INLINE VF load_u8(const uint8_t* p) {
  return VF{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]),
            static_cast<float>(p[3])};
}
HEED_INLINE VF load_i8(const uint8_t* p) {
  return VF{
      static_cast<float>(static_cast<int8_t>(p[0])), static_cast<float>(static_cast<int8_t>(p[1])),
      static_cast<float>(static_cast<int8_t>(p[2])), static_cast<float>(static_cast<int8_t>(p[3]))};
}
HEED_INLINE VI lookup_bytes(const uint8_t* table, VI index) {
  VI out;
  uint8_t at[16];
  __builtin_memcpy(at, &index, 16);
  for (int i = 0; i < 16; ++i) at[i] = table[at[i] & 15];
  __builtin_memcpy(&out, at, 16);
  return out;
}
// One byte product of each word is enough of a vocabulary here: bytes become words of 32 bits.
#define HEED_BYTE_DOT 1
HEED_INLINE VI dot_bytes(VI c, VI u, VI s) {
  const VS a = bits<VS>(s);
  VS sum = bits<VS>(c);
  sum += bits<VS>(u & 0xFFu) * ((a << 24) >> 24);
  sum += bits<VS>((u >> 8) & 0xFFu) * ((a << 16) >> 24);
  sum += bits<VS>((u >> 16) & 0xFFu) * ((a << 8) >> 24);
  sum += bits<VS>(u >> 24) * (a >> 24);
  return bits<VI>(sum);
}

HEED_INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace heed::kernels::HEED_ISA
