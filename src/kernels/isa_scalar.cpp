// The kernels of scalar: its vocabulary, then the texts that are the same for every ISA.
#define HEED_ISA scalar
#include "kernels/table.h"
// The order is that of use: a sorted list would not compile.
// clang-format off
#include "kernels/simd/scalar.h"
#include "kernels/approx.h"
#include "kernels/floats.h"
#include "kernels/operands.h"
#include "kernels/pack.h"
#include "kernels/rows.h"
#include "kernels/tile.h"
#include "kernels/reduce.h"
#include "kernels/roof.h"
#include "kernels/fill_table.h"
// clang-format on
