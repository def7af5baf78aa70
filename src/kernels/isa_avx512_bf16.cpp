// The kernels of avx512_bf16: its vocabulary, then the texts that are the same for every ISA.
#define HEED_ISA avx512_bf16
#include "kernels/table.h"
// The order is that of use: a sorted list would not compile.
// clang-format off
#include "kernels/simd/avx512_bf16.h"
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
