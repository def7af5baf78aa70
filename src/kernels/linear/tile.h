// The tile of a quantised product: R rows of x against NV vectors of outputs, all blocks.
//
// Per block, row and vector: eight byte products into an integer sum, one conversion, one product
// of the two scales, one fma (two with a minimum). On Zen 4 the multiplies share their ports with
// the byte products, so 8 of 10 slots (8 of 11 with a minimum) are useful: that is the ceiling. No
// include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

// Integer sums of one block. Without VNNI products of bytes are summed in pairs of 16 bits, as many
// words as cannot overflow: 2 * 127 * kMost * words <= 32767. Codes of 8 bits go as signed bytes.
template <class W, int R, int NV>
struct BlockSums {
  VI s[R][NV];
#if !defined(HEED_BYTE_DOT)
  static constexpr bool kSigned = W::kMost > 127;
  static constexpr int kWords = W::kMost == 15   ? 8 / W::kScales
                                : W::kMost == 31 ? 4 / W::kScales
                                : W::kMost == 63 ? 2
                                                 : 1;
  VI pairs[R][NV];
#endif

  // What the zero point takes off a row's sum. which: 0 for sums over 32 inputs or the first 16 of
  // them, 1 for the last 16.
  template <int which>
  static HEED_INLINE VI zero_points(const InputBlock& x, int row) {
    constexpr int kShift = __builtin_ctz(W::kZero);
    VI minus = set1_word(static_cast<uint32_t>(x.minus_sum[row]));
    if constexpr (W::kScales == 2) {
      const VI high = set1_word(static_cast<uint32_t>(x.minus_high[row]));
      minus = which == 1 ? high : sub_words(minus, high);
    }
    return shift_left<kShift>(minus);
  }

  template <int which>
  HEED_INLINE void start([[maybe_unused]] const InputBlock& x, [[maybe_unused]] int row) {
#if defined(HEED_BYTE_DOT)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const VI minus = zero_points<which>(x, row + r);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) s[r][v] = minus;
    }
#endif  // else the first pairs that become words do: until then the sums need no registers
  }

  template <int h, int j>
  HEED_INLINE void add_word(const InputBlock& x, int row, const uint8_t* block, int v0) {
    VI w[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      w[v] = W::template word<h, j>(block, v0 + v);
      HEED_PIN(w[v]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const VI q = set1_word(x.q[4 * h + j][row + r]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
#if defined(HEED_BYTE_DOT)
        s[r][v] = dot_bytes(s[r][v], w[v], q);
#else
        add_product<h, j>(x, row, r, v, w[v], q);
#endif
      }
    }
  }

#if !defined(HEED_BYTE_DOT)
  template <int h, int j>
  HEED_INLINE void add_product(const InputBlock& x, int row, int r, int v, VI w, VI q) {
    constexpr int kIndex = W::kScales == 2 ? j : 4 * h + j;
    VI p;
    if constexpr (kSigned) {
      const VI minus = xor_words(w, set1_word(0x80808080u));
      p = multiply_bytes(abs_bytes(minus), sign_bytes(q, minus));
    } else {
      p = multiply_bytes(w, q);
    }
    VI& sum = pairs[r][v];
    sum = kIndex % kWords == 0 ? p : add_pairs(sum, p);
    // One after the other: gcc would keep all products of a block and add them as a tree.
    HEED_PIN(sum);
    if constexpr (kIndex % kWords == kWords - 1) {
      const VI words = sum_pairs(sum);
      if constexpr (kIndex >= kWords) {
        s[r][v] = add_words(s[r][v], words);
      } else {
        s[r][v] = kSigned ? words : add_words(zero_points<h>(x, row + r), words);
      }
      HEED_PIN(s[r][v]);
    }
  }
#endif

  template <int h>
  HEED_INLINE void add_half(const InputBlock& x, int row, const uint8_t* block, int v0) {
    add_word<h, 0>(x, row, block, v0);
    add_word<h, 1>(x, row, block, v0);
    add_word<h, 2>(x, row, block, v0);
    add_word<h, 3>(x, row, block, v0);
  }
};

// What reads a group first waits for memory: the tile of the first rows, or its expansion. The
// hardware prefetcher stops at 4 KiB boundaries, and a prefetch that finds all miss buffers taken
// is dropped, so every line is asked for twice. One row from memory in huge pages, two cores of
// Zen 4, share of the stream in the same of three rounds: Q4_K 63 to 81 % with one request 4 KiB
// ahead, 77 to 88 % with one 8 KiB ahead, 95 to 99 % with two 4 and 2 KiB ahead, 95 to 104 % with
// these; Q6_K 66 to 95 and 97 to 104 %, Q4_0 76 to 103 and 101 to 111 %. The first of more rows:
// 4 rows of Q4_1 take 0.76 of the time without, of Q5_0 0.64, 64 rows 0.95.
constexpr size_t kPrefetchAhead = 8192, kPrefetchAgain = 4096;

HEED_INLINE void prefetch_ahead(const uint8_t* line) {
  prefetch_l2(line + kPrefetchAhead);
  prefetch_l2(line + kPrefetchAgain);
}

template <class W>
HEED_INLINE void prefetch_block(const uint8_t* block) {
#pragma GCC unroll 18
  for (size_t i = 0; i < W::At::kBytes; i += 64) prefetch_ahead(block + i);
}

// Brings what store_sums touches nearer while the sums are made.
template <int R, int NV>
HEED_INLINE void prefetch_results(const LinearCall& call, int row, int v0) {
  const LinearResult& to = call.to;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < NV * kLanes; i += 16) {
      __builtin_prefetch(to.y + (row + r) * to.stride + v0 * kLanes + i, 1);
    }
  }
  if (to.residual == nullptr) return;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < NV * kLanes; i += 16) {
      __builtin_prefetch(to.residual + (row + r) * to.residual_stride + v0 * kLanes + i);
    }
  }
}

// Rows [row, row + rows) of the call from sums [rows][vectors]. A function of its own: with these
// branches in the tile gcc keeps part of its sums in memory.
__attribute__((noinline)) void store_sums(const LinearCall& call, const VF* sums, int rows,
                                          int vectors, int row, int v0) {
  const LinearResult& to = call.to;
  for (int r = 0; r < rows; ++r, ++row) {
    for (int v = 0; v < vectors; ++v, ++sums) {
      const int first = (v0 + v) * kLanes, n = call.outputs - first;
      if (n <= 0) continue;
      VF y = *sums;
      if (to.bias != nullptr) y = add(y, load_first(to.bias + first, n));
      if (to.residual != nullptr) {
        y = add(y, load_first(to.residual + row * to.residual_stride + first, n));
      }
      store_first(to.y + row * to.stride + first, y, n);
    }
  }
}

template <int R, int NV>
HEED_INLINE void store_results(const LinearCall& call, const VF (&acc)[R][NV], int row, int v0) {
  VF sums[R * NV];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sums[r * NV + v] = acc[r][v];
  }
  store_sums(call, sums, R, NV, row, v0);
}

// kFirst: the group's bytes come from memory in this tile.
template <class W, int R, int NV, bool kFirst>
__attribute__((noinline)) void linear_tile(const LinearCall& call, const uint8_t* group,
                                           const InputBlock* x, int first, int v0) {
  const int row = first % kInputRows;
  prefetch_results<R, NV>(call, first, v0);
  VF acc[R][NV];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[r][v] = zero();
  }
  const int blocks = call.blocks;
#pragma GCC unroll 1
  for (int b = 0; b < blocks; ++b) {
    const uint8_t* head = W::At::head(group, b);
    const uint8_t* block = W::At::block(group, b);
    const InputBlock& in = x[b];
    if constexpr (kFirst) {
      if (v0 == 0) prefetch_block<W>(block);
    }
    BlockSums<W, R, NV> sums;
    const auto scaled = [&]<int h>() HEED_LAMBDA_INLINE {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        VF scale = W::template scale<h>(head, block, v0 + v);
        HEED_PIN(scale);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const VF both = mul(scale, set1(in.scale[row + r]));
          acc[r][v] = fma(to_float(sums.s[r][v]), both, acc[r][v]);
        }
        if constexpr (W::kMin) {
          VF min = W::min(head, block, v0 + v, scale);
          HEED_PIN(min);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) acc[r][v] = fma(min, set1(in.sum[row + r]), acc[r][v]);
        }
      }
    };
    sums.template start<0>(in, row);
    sums.template add_half<0>(in, row, block, v0);
    if constexpr (W::kScales == 2) {
      scaled.template operator()<0>();
      sums.template start<1>(in, row);
      sums.template add_half<1>(in, row, block, v0);
      scaled.template operator()<1>();
    } else {
      sums.template add_half<1>(in, row, block, v0);
      scaled.template operator()<0>();
    }
  }
  store_results(call, acc, first, v0);
}

// R rows, from `first` on, against all outputs of the group.
template <class W, int R, bool kFirst>
HEED_INLINE void linear_tiles(const LinearCall& call, const uint8_t* group, const InputBlock* x,
                              int first) {
  constexpr int NV = R == 1 ? kOneRowVectors : kProductVectors;
  for (int v = 0; v < kGroupOutputs / kLanes; v += NV) {
    linear_tile<W, R, NV, kFirst>(call, group, x, first, v);
  }
}

// kMemory: the group comes from memory, so its first tile fetches ahead.
template <class W, bool kMemory>
HEED_INLINE void linear_rows(const LinearCall& call, const uint8_t* group) {
  for (int first = 0; first < call.rows; first += kInputRows) {
    const InputBlock* x = static_cast<const InputBlock*>(call.x) +
                          static_cast<ptrdiff_t>(first / kInputRows) * call.blocks;
    const int rows = call.rows - first < kInputRows ? call.rows - first : kInputRows;
    for (int row = 0; row < rows; row += kProductRows) {
      const auto tiles = [&]<int R>() HEED_LAMBDA_INLINE {
        if (kMemory && first + row == 0) {
          linear_tiles<W, R, kMemory>(call, group, x, first + row);
        } else {
          linear_tiles<W, R, false>(call, group, x, first + row);
        }
      };
      switch (rows - row) {
        case 1: tiles.template operator()<1>(); break;
        case 2: tiles.template operator()<2>(); break;
        case 3: tiles.template operator()<(kProductRows < 3 ? 2 : 3)>(); break;
        default: tiles.template operator()<kProductRows>(); break;
      }
    }
  }
}

template <class W, int h>
HEED_INLINE void expand_half(const uint8_t* block, uint8_t* out, int v) {
  out += h * 4 * kRowOfWords + v * kLanes * 4;
  store_words(out, W::template word<h, 0>(block, v));
  store_words(out + kRowOfWords, W::template word<h, 1>(block, v));
  store_words(out + 2 * kRowOfWords, W::template word<h, 2>(block, v));
  store_words(out + 3 * kRowOfWords, W::template word<h, 3>(block, v));
}

// A group once for all its row tiles. The scales are the same fp32 values that the direct tile
// makes.
template <class W>
__attribute__((noinline)) void expand(const LinearCall& call) {
  for (int b = 0; b < call.blocks; ++b) {
    const uint8_t* head = W::At::head(call.group, b);
    const uint8_t* block = W::At::block(call.group, b);
    prefetch_block<W>(block);
    uint8_t* out = call.scratch + static_cast<size_t>(b) * kExpandedBlock;
    float* scales = reinterpret_cast<float*>(out + 1024);
#pragma GCC unroll 1
    for (int v = 0; v < kGroupOutputs / kLanes; ++v) {
      expand_half<W, 0>(block, out, v);
      expand_half<W, 1>(block, out, v);
      const VF scale = W::template scale<0>(head, block, v);
      store(scales + v * kLanes, scale);
      if constexpr (W::kMin) store(scales + 32 + v * kLanes, W::min(head, block, v, scale));
      if constexpr (W::kScales == 2) {
        store(scales + 32 + v * kLanes, W::template scale<1>(head, block, v));
      }
    }
  }
}

template <class W>
void linear_product(const LinearCall& call) {
  if (call.rows < W::kExpandRows) return linear_rows<W, true>(call, call.group);
  expand<W>(call);
  linear_rows<Expanded<W>, false>(call, call.scratch);
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
