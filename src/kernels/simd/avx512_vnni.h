// SIMD vocabulary of AVX-512 with VNNI: the AVX-512 one, and the dot product of bytes.
#pragma once

#include "kernels/simd/avx512.h"

#define HEED_BYTE_DOT 1

namespace heed::kernels::HEED_ISA {
namespace {

// c + the four products of unsigned and signed bytes of each word.
HEED_INLINE VI dot_bytes(VI c, VI u, VI s) { return _mm512_dpbusd_epi32(c, u, s); }

}  // namespace
}  // namespace heed::kernels::HEED_ISA
