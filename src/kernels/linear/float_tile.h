// Products with weights that are floats in the file: a tile of R rows of x against some vectors
// of outputs, the whole contraction in registers. Per output one chain of fma over the inputs, so a
// row's bits depend neither on the other rows nor on the tile. No include guard: each ISA's unit
// includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

// A row alone needs more chains: its fma wait for each other.
template <int R>
constexpr int kFloatVectors = R == 1 ? kOneRowVectors : 2;

template <class Op, int R, int sub>
HEED_INLINE void float_step(VF (&acc)[R][kFloatVectors<R>], const typename Op::X* x, ptrdiff_t pack,
                            const typename Op::B* w) {
  typename Op::V b[kFloatVectors<R>];
#pragma GCC unroll 4
  for (int v = 0; v < kFloatVectors<R>; ++v) {
    b[v] = Op::template load_b<sub>(w + v * kLanes);
    HEED_PIN(b[v]);
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const typename Op::V a = Op::broadcast(x + (r / kInputRows) * pack + r % kInputRows);
#pragma GCC unroll 4
    for (int v = 0; v < kFloatVectors<R>; ++v) acc[r][v] = Op::multiply_add(acc[r][v], a, b[v]);
  }
}

// x: packs of four rows, `pack` elements apart. kFirst: the tile that reads the group first.
template <class Op, int R, bool kFirst>
__attribute__((noinline)) void float_tile(const LinearCall& call, const typename Op::X* x,
                                          ptrdiff_t pack, int row, int v0) {
  VF acc[R][kFloatVectors<R>];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kFloatVectors<R>; ++v) acc[r][v] = zero();
  }
  constexpr size_t kStepBytes = kGroupOutputs * sizeof(typename Op::B);
  const auto* w = reinterpret_cast<const typename Op::B*>(call.group) + v0 * kLanes;
  const int steps = call.blocks * (kBlockInputs / Op::kPack);
#pragma GCC unroll 1
  for (int s = 0; s < steps; ++s) {
    if constexpr (kFirst) {
      if (v0 == 0) {
#pragma GCC unroll 2
        for (size_t i = 0; i < kStepBytes; i += 64) {
          prefetch_ahead(reinterpret_cast<const uint8_t*>(w) + i);
        }
      }
    }
    float_step<Op, R, 0>(acc, x, pack, w);
    x += kInputRows;
    if constexpr (Op::kSub == 2) {
      float_step<Op, R, 1>(acc, x, pack, w);
      x += kInputRows;
    }
    w += kGroupOutputs;
  }
  store_results(call, acc, row, v0);
}

template <class Op, int R, bool kFirst>
HEED_INLINE void float_tiles(const LinearCall& call, const typename Op::X* x, ptrdiff_t pack,
                             int row) {
  for (int v = 0; v < kGroupOutputs / kLanes; v += kFloatVectors<R>) {
    float_tile<Op, R, kFirst>(call, x, pack, row, v);
  }
}

template <class Op, int R>
HEED_INLINE void float_rows(const LinearCall& call, const typename Op::X* x, ptrdiff_t pack,
                            int row) {
  if (row == 0) {
    float_tiles<Op, R, true>(call, x, pack, row);
  } else {
    float_tiles<Op, R, false>(call, x, pack, row);
  }
}

template <class Op>
void float_product(const LinearCall& call) {
  const ptrdiff_t pack =
      static_cast<ptrdiff_t>(call.blocks) * (kBlockInputs / Op::kPack) * Op::kSub * kInputRows;
  const auto* x = static_cast<const typename Op::X*>(call.x);
  int row = 0;
  if constexpr (kFloatRows > kInputRows) {
    constexpr int kPacks = kFloatRows / kInputRows;
    static_assert(kFloatRows % kInputRows == 0);
    for (; call.rows - row >= kFloatRows; row += kFloatRows, x += kPacks * pack) {
      float_rows<Op, kFloatRows>(call, x, pack, row);
    }
  }
  for (; row < call.rows; row += kInputRows, x += pack) {
    switch (call.rows - row) {
      case 1: float_rows<Op, 1>(call, x, pack, row); break;
      case 2: float_rows<Op, 2>(call, x, pack, row); break;
      case 3: float_rows<Op, 3>(call, x, pack, row); break;
      default: float_rows<Op, 4>(call, x, pack, row); break;
    }
  }
}

// F16 weights. Each tile would convert them again, so many rows read a group that is converted
// once: the same floats, hence the same bits.
void f16_product(const LinearCall& call) {
  if (call.rows < kSomeRows) return float_product<F16Operand>(call);
  const auto* from = reinterpret_cast<const F16Operand::B*>(call.group);
  auto* to = reinterpret_cast<float*>(call.scratch);
  const ptrdiff_t n = static_cast<ptrdiff_t>(call.blocks) * kBlockInputs * kGroupOutputs;
  for (ptrdiff_t i = 0; i < n; i += kGroupOutputs) {
    prefetch_ahead(reinterpret_cast<const uint8_t*>(from + i));
#pragma GCC unroll 8
    for (int v = 0; v < kGroupOutputs; v += kLanes) store(to + i + v, load_f16(from + i + v));
  }
  LinearCall converted = call;
  converted.group = call.scratch;
  float_product<F32Operand>(converted);
}

// Four rows of x side by side: out[i][row].
void pack_floats(void* out, const float* x, int64_t stride, int rows, int blocks) {
  auto* to = static_cast<float*>(out);
  const int inputs = blocks * kBlockInputs;
  for (int r = 0; r < rows; ++r) {
    const float* from = x + r * stride;
    for (int i = 0; i < inputs; ++i) to[i * kInputRows + r] = from[i];
  }
}

#if defined(HEED_BF16_DOT)
// The same with pairs of neighbouring inputs rounded to bf16: out[pair][row].
void pack_pairs(void* out, const float* x, int64_t stride, int rows, int blocks) {
  auto* to = static_cast<uint32_t*>(out);
  constexpr int kPairs = kBlockInputs / 2;
  for (int b = 0; b < blocks; ++b, to += kPairs * kInputRows) {
    for (int r = 0; r < rows; ++r) {
      const float* from = x + r * stride + b * kBlockInputs;
      uint32_t pairs[kPairs];
      store_words(pairs, to_bf16_pairs(load(from), load(from + kLanes)));
      for (int i = 0; i < kPairs; ++i) to[i * kInputRows + r] = pairs[i];
    }
  }
}
constexpr size_t kPairBlockBytes = kBlockInputs / 2 * kInputRows * sizeof(uint32_t);
#else
constexpr auto* pack_pairs = pack_floats;
constexpr size_t kPairBlockBytes = kFloatBlockBytes;
#endif

}  // namespace
}  // namespace heed::kernels::HEED_ISA
