// What the processor offers and which instruction set heed's kernels use.
#pragma once

#include <string_view>

#include "heed/status.h"

namespace heed {

// From least to most capable. kAvx512Vnni multiplies bytes as kAvx512Bf16 does and attends as
// kAvx512.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16 };
inline constexpr int kIsaCount = 5;

const char* isa_name(Isa isa);  // "scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16"
Result<Isa> parse_isa(std::string_view name);

// Every instruction that the table of `isa` uses is present and enabled by the system.
bool isa_supported(Isa isa);

// The best supported one, or the one that HEED_ISA (alias HEED_FORCE_CPU_ISA) names.
// Errors: kInvalidArgument for an unknown name, kUnsupported for one this machine cannot run.
Result<Isa> choose_isa();

}  // namespace heed
