// How each format lays out one page, per ISA: the kernel states its layout, the store only keeps
// bytes. This is the interface a quantised format will implement too (scales inside the page).
//
// K page layouts:  f32, f16 [dk][64]; bf16 [dk/2][64][2]  (token-minor: a register holds 16 keys)
// V page layouts:  f32, f16 [64][dv]; bf16 [32][dv][2]    (pairs of tokens for the bf16 dot)
// Layouts do not depend on the ISA, so a saved page can be read by another machine. Sizes are
// multiples of 64 bytes; pages are 64-byte aligned. The last vector of the last V row may reach
// behind dv, so v_bytes includes that room; the store zeroes V pages when it hands them out,
// because a masked slot's weight 0 must meet a finite value.
//
// pack_k, pack_v: write n fp32 rows [n][d] (`stride` floats apart) into slots [slot, slot + n) of
// one page, rounded to nearest even; infinities and NaN are kept. Slots beside these keep their
// value, but slots in one 32-bit word (a bf16 V pair) must not be written by two threads at once:
// partition work by page. unpack_k, unpack_v: the stored values of slots [slot, slot + n), widened
// to fp32.
#pragma once

#include "heed/cpu.h"
#include "heed/format.h"
#include "kernels/table.h"

namespace heed::kernels {

// The table entry; `isa` must be supported by this machine.
const FormatOps& format_ops(Isa isa, Format format);

}  // namespace heed::kernels
