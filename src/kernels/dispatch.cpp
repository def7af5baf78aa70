// The list of kernel tables. Every table in this binary is chosen here and nowhere else.
#include "cpu/features.h"
#include "kernels/kernels.h"

namespace heed::kernels {

static_assert(static_cast<int>(Format::kF32) == 0 && static_cast<int>(Format::kF16) == 1 &&
                  static_cast<int>(Format::kBf16) == 2 && kFormatCount == 3,
              "Table::formats is indexed by Format");
static_assert(kPageTokens == 64, "a mask is one 64-bit word, a page four AVX-512 vectors of keys");

const Table& table(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar: return scalar::kTable;
    case Isa::kAvx2: return avx2::kTable;
    case Isa::kAvx512:
    case Isa::kAvx512Vnni: return avx512::kTable;  // attention multiplies no bytes
    case Isa::kAvx512Bf16: return avx512_bf16::kTable;
  }
#endif
  static_cast<void>(isa);
  return scalar::kTable;
}

const LinearTable& linear_table(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar: return scalar::kLinearTable;
    case Isa::kAvx2: return avx2::kLinearTable;
    case Isa::kAvx512: return avx512::kLinearTable;
    case Isa::kAvx512Vnni: return avx512_vnni::kLinearTable;
    case Isa::kAvx512Bf16: return avx512_bf16::kLinearTable;
  }
#endif
  static_cast<void>(isa);
  return scalar::kLinearTable;
}

const FormatOps& format_ops(Isa isa, Format format) {
  return table(isa).formats[static_cast<int>(format)];
}

bool has_int8_dot(Isa isa) {
  const cpu::Features& f = cpu::features();
  if (isa == Isa::kAvx2) return f.avx_vnni;
  return isa >= Isa::kAvx512 && f.avx512_vnni;
}

}  // namespace heed::kernels
