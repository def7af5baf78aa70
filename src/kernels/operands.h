// The operand kinds of the two matrix products of attention: how one step of a contraction loads B
// (a K or V page) and multiplies it with a broadcast A (a query, or probabilities).
//
//   X  element of A      kPack  contracted values of a step of B
//   B  element of B      kSub   elements of A that a step multiplies
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

struct F32Operand {
  using X = float;
  using B = float;
  using V = VF;
  static constexpr int kSub = 1;
  static constexpr int kPack = 1;
  template <int>
  static HEED_INLINE VF load_b(const float* b) {
    return load(b);
  }
  static HEED_INLINE VF broadcast(const float* x) { return set1(*x); }
  static HEED_INLINE VF multiply_add(VF acc, VF x, VF b) { return fma(x, b, acc); }
};

struct F16Operand {
  using X = float;
  using B = uint16_t;
  using V = VF;
  static constexpr int kSub = 1;
  static constexpr int kPack = 1;
  template <int>
  static HEED_INLINE VF load_b(const uint16_t* b) {
    return load_f16(b);
  }
  static HEED_INLINE VF broadcast(const float* x) { return set1(*x); }
  static HEED_INLINE VF multiply_add(VF acc, VF x, VF b) { return fma(x, b, acc); }
};

#if defined(HEED_BF16_DOT)
// Pairs on both sides: one instruction, two products per lane.
struct Bf16Operand {
  using X = uint32_t;
  using B = uint32_t;
  using V = VI;
  static constexpr int kSub = 1;
  static constexpr int kPack = 2;
  template <int>
  static HEED_INLINE VI load_b(const uint32_t* b) {
    return load_words(b);
  }
  static HEED_INLINE VI broadcast(const uint32_t* x) { return set1_word(*x); }
  static HEED_INLINE VF multiply_add(VF acc, VI x, VI b) { return dot_pairs(x, b, acc); }
};
#else
// A bf16 is the upper half of an fp32: the pair is widened to two vectors and multiplied with fp32
// A.
struct Bf16Operand {
  using X = float;
  using B = uint32_t;
  using V = VF;
  static constexpr int kSub = 2;
  static constexpr int kPack = 2;
  template <int sub>
  static HEED_INLINE VF load_b(const uint32_t* b) {
    const VI w = load_words(b);
    if constexpr (sub == 0) return as_float(shift_left<16>(w));
    return as_float(and_words(w, set1_word(0xFFFF0000u)));
  }
  static HEED_INLINE VF broadcast(const float* x) { return set1(*x); }
  static HEED_INLINE VF multiply_add(VF acc, VF x, VF b) { return fma(x, b, acc); }
};
#endif

// fp32 rounded to bf16 (nearest even) in the upper halves; NaN stays NaN (its payload cut, quiet).
HEED_INLINE VI round_bf16(VF x) {
  const VI u = as_words(x);
  const VI odd = and_words(shift_right<16>(u), set1_word(1));
  const VI rounded = add_words(add_words(u, set1_word(0x7FFF)), odd);
  return and_words(select_number(x, rounded, or_words(u, set1_word(0x400000))),
                   set1_word(0xFFFF0000u));
}

// Two bf16 as one word: a in the lower half.
HEED_INLINE VI pair_words(VF a, VF b) {
  return or_words(shift_right<16>(round_bf16(a)), round_bf16(b));
}

HEED_INLINE VF load_first(const float* p, int n) {
  if (n >= kLanes) return load(p);
  float tail[kLanes] = {};
  for (int i = 0; i < n; ++i) tail[i] = p[i];
  return load(tail);
}
HEED_INLINE void store_first(float* p, VF x, int n) {
  if (n >= kLanes) return store(p, x);
  float tail[kLanes];
  store(tail, x);
  for (int i = 0; i < n; ++i) p[i] = tail[i];
}
HEED_INLINE VI load_first_words(const uint32_t* p, int n) {
  if (n >= kLanes) return load_words(p);
  uint32_t tail[kLanes] = {};
  for (int i = 0; i < n; ++i) tail[i] = p[i];
  return load_words(tail);
}
HEED_INLINE void store_first_words(uint32_t* p, VI x, int n) {
  if (n >= kLanes) return store_words(p, x);
  uint32_t tail[kLanes];
  store_words(tail, x);
  for (int i = 0; i < n; ++i) p[i] = tail[i];
}
HEED_INLINE VF load_first_f16(const uint16_t* p, int n) {
  if (n >= kLanes) return load_f16(p);
  uint16_t tail[kLanes] = {};
  for (int i = 0; i < n; ++i) tail[i] = p[i];
  return load_f16(tail);
}
HEED_INLINE void store_first_f16(uint16_t* p, VF x, int n) {
  if (n >= kLanes) return store_f16(p, x);
  uint16_t tail[kLanes];
  store_f16(tail, x);
  for (int i = 0; i < n; ++i) p[i] = tail[i];
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
