// The kernel table of an instruction set, and the roofs of the machine measured with its loops.
#pragma once

#include "heed/cpu.h"
#include "kernels/format_ops.h"
#include "kernels/linear/linear.h"
#include "kernels/table.h"

namespace heed::kernels {

// `isa` must be supported by this machine.
const Table& table(Isa isa);
const LinearTable& linear_table(Isa isa);

// Whether int8_loop of this table may be called: VNNI is a feature bit of its own.
bool has_int8_dot(Isa isa);

}  // namespace heed::kernels
