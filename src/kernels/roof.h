// Loops that measure what the processor can do: the issue rate of multiply-adds with accumulators
// in registers, and reading memory in whole vectors. The accumulators of the dot loops live in
// inline assembly, because a compiler that spills them measures its stack. All start from 0: a
// left-over denormal would measure microcode. No include guard: each ISA's unit includes this text
// in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

#if defined(__AVX512F__)
#define HEED_ROOF(OP)                                                        \
  OP " %%zmm30, %%zmm31, %%zmm0\n\t" OP " %%zmm30, %%zmm31, %%zmm1\n\t" OP   \
     " %%zmm30, %%zmm31, %%zmm2\n\t" OP " %%zmm30, %%zmm31, %%zmm3\n\t" OP   \
     " %%zmm30, %%zmm31, %%zmm4\n\t" OP " %%zmm30, %%zmm31, %%zmm5\n\t" OP   \
     " %%zmm30, %%zmm31, %%zmm6\n\t" OP " %%zmm30, %%zmm31, %%zmm7\n\t" OP   \
     " %%zmm30, %%zmm31, %%zmm8\n\t" OP " %%zmm30, %%zmm31, %%zmm9\n\t" OP   \
     " %%zmm30, %%zmm31, %%zmm10\n\t" OP " %%zmm30, %%zmm31, %%zmm11\n\t" OP \
     " %%zmm30, %%zmm31, %%zmm12\n\t" OP " %%zmm30, %%zmm31, %%zmm13\n\t" OP \
     " %%zmm30, %%zmm31, %%zmm14\n\t" OP " %%zmm30, %%zmm31, %%zmm15\n\t"
#define HEED_ROOF_CLOBBERS                                                                 \
  "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", "zmm10", \
      "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm30", "zmm31", "cc"
#define HEED_ROOF_CLEAR \
  "vzeroall\n\tvpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31\n\t"
constexpr int kRoofChains = 16;
#elif defined(__AVX2__)
#define HEED_ROOF(OP)                                                      \
  OP " %%ymm14, %%ymm15, %%ymm0\n\t" OP " %%ymm14, %%ymm15, %%ymm1\n\t" OP \
     " %%ymm14, %%ymm15, %%ymm2\n\t" OP " %%ymm14, %%ymm15, %%ymm3\n\t" OP \
     " %%ymm14, %%ymm15, %%ymm4\n\t" OP " %%ymm14, %%ymm15, %%ymm5\n\t" OP \
     " %%ymm14, %%ymm15, %%ymm6\n\t" OP " %%ymm14, %%ymm15, %%ymm7\n\t" OP \
     " %%ymm14, %%ymm15, %%ymm8\n\t" OP " %%ymm14, %%ymm15, %%ymm9\n\t" OP \
     " %%ymm14, %%ymm15, %%ymm10\n\t" OP " %%ymm14, %%ymm15, %%ymm11\n\t"
#define HEED_ROOF_CLOBBERS                                                                 \
  "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", \
      "ymm11", "ymm12", "ymm13", "ymm14", "ymm15", "cc"
#define HEED_ROOF_CLEAR "vzeroall\n\t"
constexpr int kRoofChains = 12;
#endif

#if defined(__AVX2__)
#define HEED_ROOF_FUNCTION(NAME, OP, OPS_PER_LANE)                                 \
  double NAME(int64_t rounds) {                                                    \
    int64_t left = rounds;                                                         \
    if (left <= 0) return 0;                                                       \
    __asm__ volatile(HEED_ROOF_CLEAR "1:\n\t" HEED_ROOF(OP) "dec %0\n\tjnz 1b\n\t" \
                     : "+r"(left)::HEED_ROOF_CLOBBERS);                            \
    return static_cast<double>(rounds) * kRoofChains * kLanes * (OPS_PER_LANE);    \
  }
HEED_ROOF_FUNCTION(fma_loop, "vfmadd231ps", 2)
#if defined(__AVX512F__)
HEED_ROOF_FUNCTION(int8_loop, "vpdpbusd", 8)
#else
HEED_ROOF_FUNCTION(int8_loop, "%{vex%} vpdpbusd", 8)
#endif
#if defined(HEED_BF16_DOT)
HEED_ROOF_FUNCTION(bf16_loop, "vdpbf16ps", 4)
#endif
#else

// Portable: 12 chains of multiply and add on the compiler's vectors.
double fma_loop(int64_t rounds) {
  VF acc[12];
  for (VF& a : acc) a = set1(1.0f);
  VF x = set1(0.5f), y = set1(0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (VF& a : acc) a = fma(a, x, y);
  }
  VF sum = zero();
  for (const VF& a : acc) sum = add(sum, a);
  float out[kLanes];
  store(out, sum);
  return out[0] < 0 ? 0 : static_cast<double>(rounds) * 12 * kLanes * 2;
}
double int8_loop(int64_t) { return 0; }
#endif

#if !defined(HEED_BF16_DOT)
double bf16_loop(int64_t) { return 0; }
#endif

// Four streams a quarter apart would fight for the same sets of the cache; one stream of 256 bytes
// a step is what the hardware prefetcher follows best.
uint32_t stream_read(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  constexpr size_t kVector = kLanes * 4;
  VI acc[4] = {set1_word(0), set1_word(0), set1_word(0), set1_word(0)};
  for (size_t i = 0; i + 4 * kVector <= bytes; i += 4 * kVector) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) acc[j] = or_words(acc[j], load_words(p + i + j * kVector));
  }
  uint32_t out[kLanes];
  store_words(out, or_words(or_words(acc[0], acc[1]), or_words(acc[2], acc[3])));
  uint32_t any = 0;
  for (int i = 0; i < kLanes; ++i) any |= out[i];
  return any;
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
