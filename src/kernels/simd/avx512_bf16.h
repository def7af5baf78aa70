// SIMD vocabulary of AVX-512 with BF16 (every such processor has VNNI): the dot product of bf16
// pairs besides that of bytes.
#pragma once

#include "kernels/simd/avx512_vnni.h"

#define HEED_BF16_DOT 1

namespace heed::kernels::HEED_ISA {
namespace {

// c + sum of the two products of each pair, fp32 accumulation (denormals count as 0).
HEED_INLINE VF dot_pairs(VI a, VI b, VF c) {
  return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
// 32 bf16 in order: low lanes from a, high lanes from b.
HEED_INLINE VI to_bf16_pairs(VF a, VF b) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
}

// Word i: a[i] in its lower half, b[i] in its upper one.
HEED_INLINE VI pair_lanes(VF a, VF b) {
  const VI lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const VI order = or_words(lanes, shift_left<16>(add_words(lanes, set1_word(kLanes))));
  return _mm512_permutexvar_epi16(order, to_bf16_pairs(a, b));
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
