// How each format lays out one page, per ISA: the kernel states its layout, the store only keeps
// bytes. This is the interface a quantised format will implement too (scales inside the page).
#pragma once

#include <cstddef>
#include <cstdint>

#include "heed/cpu.h"
#include "heed/format.h"

namespace heed::kernels {

// K page layouts:  f32, f16 [dk][64]; bf16 [dk/2][64][2]  (token-minor: a register holds 16 keys)
// V page layouts:  f32, f16 [64][dv]; bf16 [32][dv][2]    (pairs of tokens for the bf16 dot)
// Layouts do not depend on the ISA, so a saved page can be read by another machine.
// Sizes are multiples of 64 bytes; pages are 64-byte aligned.
struct FormatOps {
  Format format;
  size_t (*k_bytes)(int dk);
  size_t (*v_bytes)(int dv);
  // Writes n fp32 rows [n][dk] (`stride` floats apart) into slots [slot, slot + n) of one page.
  // Slots beside these keep their value, but slots in one 32-bit word (a bf16 V pair) must not be
  // written by two threads at once: partition work by page.
  void (*pack_k)(void* page, int slot, int n, const float* rows, int64_t stride, int dk);
  void (*pack_v)(void* page, int slot, int n, const float* rows, int64_t stride, int dv);
  // The stored values, widened to fp32, of slots [slot, slot + n).
  void (*unpack_k)(const void* page, int slot, int n, float* rows, int64_t stride, int dk);
  void (*unpack_v)(const void* page, int slot, int n, float* rows, int64_t stride, int dv);
};

// The table entry; `isa` must be supported by this machine.
const FormatOps& format_ops(Isa isa, Format format);

}  // namespace heed::kernels
