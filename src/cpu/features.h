// Feature bits that heed's kernels and roof loops ask for: offered by the processor and enabled by
// the system. A kernel is gated on the instructions that it uses, never on a product name.
#pragma once

#include <cstdint>

namespace heed::cpu {

struct Features {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512dq = false, avx512bw = false, avx512vl = false;
  bool avx512_bf16 = false;
  bool avx512_vnni = false, avx_vnni = false;
};

const Features& features();

}  // namespace heed::cpu
