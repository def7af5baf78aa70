// Quads of the x86 vocabularies: four words side by side, of one row or, once transposed, one of
// each row of an InputBlock.
#pragma once

#include <immintrin.h>

namespace heed::kernels::HEED_ISA {
namespace {

using Quad = __m128i;

HEED_INLINE Quad max_quads(Quad a, Quad b) { return _mm_max_epi32(a, b); }
HEED_INLINE void transpose_quads(Quad (&x)[4]) {
  const Quad a = _mm_unpacklo_epi32(x[0], x[1]), b = _mm_unpackhi_epi32(x[0], x[1]);
  const Quad c = _mm_unpacklo_epi32(x[2], x[3]), d = _mm_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm_unpacklo_epi64(a, c);
  x[1] = _mm_unpackhi_epi64(a, c);
  x[2] = _mm_unpacklo_epi64(b, d);
  x[3] = _mm_unpackhi_epi64(b, d);
}
// sum + the four signed bytes of each word.
HEED_INLINE Quad add_bytes(Quad sum, Quad bytes) {
  const Quad pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);
  return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
