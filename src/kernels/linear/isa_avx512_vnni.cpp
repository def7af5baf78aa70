// The products of avx512_vnni: its vocabulary, then the texts that are the same for every ISA.
// Attention has no unit of this name: it multiplies no bytes.
#define HEED_ISA avx512_vnni
#include "kernels/linear/linear.h"
#include "kernels/table.h"
// The order is that of use: a sorted list would not compile.
// clang-format off
#include "kernels/simd/avx512_vnni.h"
#include "kernels/operands.h"
#include "kernels/approx.h"
#include "kernels/linear/weights.h"
#include "kernels/linear/tile.h"
#include "kernels/linear/float_tile.h"
#include "kernels/linear/wide.h"
#include "kernels/linear/between.h"
#include "kernels/linear/quantize.h"
#include "kernels/linear/fill_table.h"
// clang-format on
