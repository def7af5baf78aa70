// Which instruction sets this processor offers and the system has enabled.
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/text.h"
#include "cpu/features.h"
#include "heed/cpu.h"

namespace heed {
namespace cpu {
namespace {

#if defined(__x86_64__)

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t sub) {
  Leaf out;
  if (!__get_cpuid_count(leaf, sub, &out.eax, &out.ebx, &out.ecx, &out.edx)) return {};
  return out;
}

// XCR0: which register files the system saves on a context switch. Without its bit an instruction
// faults although cpuid offers it.
uint64_t xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

Features detect() {
  Features f;
  const Leaf base = cpuid(1, 0);
  if (!bit(base.ecx, 27)) return f;  // OSXSAVE: xgetbv exists
  const uint64_t state = xcr0();
  const bool ymm = (state & 0x6) == 0x6;           // SSE and AVX registers
  const bool zmm = ymm && (state & 0xE0) == 0xE0;  // opmask, upper zmm0-15, zmm16-31
  const Leaf seven = cpuid(7, 0);
  const Leaf seven1 = seven.eax >= 1 ? cpuid(7, 1) : Leaf{};
  f.avx2 = ymm && bit(base.ecx, 28) && bit(seven.ebx, 5);
  f.fma = ymm && bit(base.ecx, 12);
  f.f16c = ymm && bit(base.ecx, 29);
  f.avx512f = zmm && bit(seven.ebx, 16);
  f.avx512dq = zmm && bit(seven.ebx, 17);
  f.avx512bw = zmm && bit(seven.ebx, 30);
  f.avx512vl = zmm && bit(seven.ebx, 31);
  f.avx512_vnni = zmm && bit(seven.ecx, 11);
  f.avx512_bf16 = zmm && bit(seven1.eax, 5);
  f.avx_vnni = ymm && bit(seven1.eax, 4);
  return f;
}

#else

Features detect() { return {}; }

#endif

}  // namespace

const Features& features() {
  static const Features found = detect();
  return found;
}

}  // namespace cpu

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Vnni: return "avx512_vnni";
    case Isa::kAvx512Bf16: return "avx512_bf16";
  }
  return "unknown";
}

Result<Isa> parse_isa(std::string_view name) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (name == isa_name(isa)) return isa;
  }
  return error(Code::kInvalidArgument, "instruction set '", name,
               "' is unknown; use scalar, avx2, avx512, avx512_vnni or avx512_bf16");
}

bool isa_supported(Isa isa) {
  const cpu::Features& f = cpu::features();
  const bool avx2 = f.avx2 && f.fma && f.f16c;
  const bool avx512 = avx2 && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq;
  switch (isa) {
    case Isa::kScalar: return true;
    case Isa::kAvx2: return avx2;
    case Isa::kAvx512: return avx512;
    case Isa::kAvx512Vnni: return avx512 && f.avx512_vnni;
    case Isa::kAvx512Bf16: return avx512 && f.avx512_vnni && f.avx512_bf16;
  }
  return false;
}

namespace {

Isa best_isa() {
  for (int i = kIsaCount - 1; i > 0; --i) {
    if (isa_supported(static_cast<Isa>(i))) return static_cast<Isa>(i);
  }
  return Isa::kScalar;
}

}  // namespace

Result<Isa> choose_isa() {
  for (const char* variable : {"HEED_ISA", "HEED_FORCE_CPU_ISA"}) {
    const char* text = std::getenv(variable);
    if (text == nullptr || *text == '\0') continue;
    Result<Isa> forced = parse_isa(text);
    if (!forced.is_ok()) return forced.status().with_context(variable);
    if (!isa_supported(*forced)) {
      return error(Code::kUnsupported, variable, "=", text,
                   ": this machine cannot run it; the best ", "it can run is ",
                   isa_name(best_isa()), " (unset the variable to choose it)");
    }
    return forced;
  }
  return best_isa();
}

}  // namespace heed
