// The tile of attention: one page (64 keys of one KV head) against the stacked query rows of a
// tile.
//
// Both products are register tiles of R <= 6 rows x 64 columns (AVX2: 16): 24 accumulators cover
// the latency of the dot (6 cycles, one or two issued a cycle), and one load of B feeds R products.
// The same loops do prefill (R = 6) and decode (R = query heads per KV head). The page is swept
// twice: scores and softmax for all rows while K is in L1, then values for all rows while V is, so
// a tile of 96 rows reads a page from L2 once and not 16 times.
//
// Softmax is in base 2 (the packed query carries scale * log2(e)). A row is rescaled only when its
// maximum grows by more than kHeadroom; else the maximum costs one comparison per 64 scores. Sums
// are kept by lane and added up once, at the end.
//
// A row's instruction sequence is the same for every R, with and without mask: its bits depend on
// its query and its pages only. A row whose mask is 0 is not touched at all.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

constexpr float kMinusInf = -__builtin_inff();
constexpr int kKeys = 64;
constexpr int kKeyVectors = kKeys / kLanes;
// The base m of the weights 2^(s - m) may lag behind the true maximum by this much: weights up to
// 2^8 lose nothing in fp32 sums or bf16 products, and a row is rescaled about once per split.
constexpr float kHeadroom = 8.0f;

// Elements of one row of weights: uint32_t holds a pair of bf16.
template <class Weight>
constexpr ptrdiff_t kWeightsOfRow = kKeys;
template <>
constexpr ptrdiff_t kWeightsOfRow<uint32_t> = kKeys / 2;

// One step's B vectors and its R x NV products.
template <class Op, int sub, int R, int NV>
HEED_INLINE void multiply_step(const typename Op::X* x, ptrdiff_t x_stride, const typename Op::B* b,
                               VF (&acc)[R][NV]) {
  typename Op::V column[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) column[j] = Op::template load_b<sub>(b + j * kLanes);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const typename Op::V row = Op::broadcast(x + r * x_stride + sub);
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[r][j] = Op::multiply_add(acc[r][j], row, column[j]);
  }
}

// What follows the page at hand, as a tile fetches it.
struct Ahead {
  const char* at;
  // A prefetch that finds all miss buffers taken is dropped, so every line is asked for again
  // kAgain bytes later, twice. From memory, one core of Zen 4, bf16, d = 128, cycles a page: 2 rows
  // 6,360 -> 4,980, 3 rows 5,590 -> 4,180, 4 rows 6,220 -> 4,940 (asked twice in all: 5,660); the
  // stream takes 3,810 to 4,180. One row, two cores: 0.68 to 0.82 of the time at d = 128 (a third
  // more where pages are in cache, but a model's weights pass between two reads of a page). Where a
  // second tile of rows walks the same lines it is for nothing (8 rows: 2 % slower).
  bool again;
};
constexpr ptrdiff_t kAgain = 2048;

// acc[r][j] += sum over steps of x[r][step] * b[step][j]. `ahead` walks through the following page
// at the rate at which b is read: few rows are bound by memory, and the hardware prefetcher stops
// at 4 KiB boundaries. It fills L2, not L1: K and V of two pages do not fit L1, and lines evicted
// before their use were fetched twice (9,800 cycles a page from memory against 5,900; 4,300 is the
// stream's time, Zen 4, 4 rows, d = 128).
template <class Op, int R, int NV>
HEED_INLINE void contract(const typename Op::X* x, ptrdiff_t x_stride, const typename Op::B* b,
                          ptrdiff_t b_stride, int steps, Ahead ahead, VF (&acc)[R][NV]) {
  constexpr int kBytes = NV * kLanes * static_cast<int>(sizeof(typename Op::B));
#pragma GCC unroll 1
  for (int t = 0; t < steps; ++t) {
    if constexpr (R < kTileRows) {
#pragma GCC unroll 4
      for (int i = 0; i < kBytes; i += 64) prefetch_l2(ahead.at + i);
      if (ahead.again) {
#pragma GCC unroll 4
        for (int i = 0; i < kBytes; i += 64) {
          prefetch_l2(ahead.at + i - kAgain);
          prefetch_l2(ahead.at + i - 2 * kAgain);
        }
      }
      ahead.at += kBytes;
    }
    multiply_step<Op, 0, R, NV>(x, x_stride, b, acc);
    if constexpr (Op::kSub == 2) multiply_step<Op, 1, R, NV>(x, x_stride, b, acc);
    x += Op::kSub;
    b += b_stride;
  }
}

// --- scores ----------------------------------------------------------------------------------

// s[r][64] = q[r] . K for R rows.
template <class Op, int R>
__attribute__((noinline)) void scores_tile(const void* q, ptrdiff_t q_stride, const void* k, int dk,
                                           Ahead ahead, float* s) {
  const auto* x = static_cast<const typename Op::X*>(q);
  const auto* b = static_cast<const typename Op::B*>(k);
  for (int panel = 0; panel < kKeyVectors; panel += kPanel) {
    VF acc[R][kPanel];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kPanel; ++j) acc[r][j] = zero();
    }
    const int steps = dk / Op::kPack;
    contract<Op, R, kPanel>(x, q_stride, b + panel * kLanes, kKeys, steps, ahead, acc);
    ahead.at += static_cast<ptrdiff_t>(sizeof(*b)) * kPanel * kLanes * steps;
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kPanel; ++j) store(s + r * kKeys + (panel + j) * kLanes, acc[r][j]);
    }
  }
}

// --- softmax ---------------------------------------------------------------------------------

enum Mode { kPlain, kMasked, kGeneral };

// A new maximum: what was accumulated shrinks by 2^(old - new). Rare after the first pages. Behind
// -inf there is nothing to shrink: all sums are 0, or NaN, which stays NaN.
__attribute__((noinline)) void raise_maximum(const PageCall& call, int row, float maximum) {
  const float before = call.m[row];
  call.m[row] = maximum;
  if (before == kMinusInf) return;
  const VF shrink = exp2_approx<6>(set1(before - maximum));
  float* l = call.l + row * kLaneFloats;
  for (int i = 0; i < kLaneFloats; i += kLanes) store(l + i, mul(load(l + i), shrink));
  const int width = row_floats(call.dv);
  float* o = call.o + static_cast<ptrdiff_t>(row) * width;
  for (int i = 0; i < width; i += kLanes) store(o + i, mul(load(o + i), shrink));
}

HEED_INLINE void adjust_scores(const ScoreExtras& extras, int row, VF (&s)[kKeyVectors]) {
  if (extras.cap != 0) {
    const VF cap = set1(extras.cap);
    for (int j = 0; j < kKeyVectors; ++j) s[j] = mul(cap, tanh_approx(s[j]));
  }
  if (extras.slope != nullptr) {
    const VF slope = set1(extras.slope[row]), distance = set1(extras.distance[row]);
    for (int j = 0; j < kKeyVectors; ++j) {
      s[j] = fma(slope, sub(load(extras.key + j * kLanes), distance), s[j]);
    }
  }
  if (extras.bias != nullptr) {
    for (int j = 0; j < kKeyVectors; ++j) s[j] = add(s[j], load(extras.bias + j * kLanes));
  }
}

HEED_INLINE void store_weights(const VF (&p)[kKeyVectors], float* out) {
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) store(out + j * kLanes, p[j]);
}
#if defined(HEED_BF16_DOT)
HEED_INLINE void store_weights(const VF (&p)[kKeyVectors], uint32_t* out) {
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; j += 2) {
    store_words(out + j / 2 * kLanes, to_bf16_pairs(p[j], p[j + 1]));
  }
}
#endif

// Scores of one row to weights 2^(s - m), kDegree of the polynomial chosen by V's format.
template <int kDegree, class Weight, int mode>
HEED_INLINE void softmax_row(const PageCall& call, int row, const float* scores, Weight* weights) {
  VF s[kKeyVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) s[j] = load(scores + j * kLanes);
  if constexpr (mode == kGeneral) adjust_scores(*call.extras, row, s);
  if constexpr (mode != kPlain) {
    const uint64_t mask = mode == kMasked || call.mask != nullptr ? call.mask[row] : ~uint64_t{0};
#pragma GCC unroll 16
    for (int j = 0; j < kKeyVectors; ++j) {
      s[j] = select_bits(mask, j * kLanes, s[j], set1(kMinusInf));
    }
  }
  VF top[kKeyVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) top[j] = s[j];
#pragma GCC unroll 4
  for (int n = kKeyVectors / 2; n > 0; n /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) top[j] = max(top[j], top[j + n]);
  }
  if (any_greater(top[0], set1(call.m[row] + kHeadroom))) {
    raise_maximum(call, row, reduce_max(top[0]));
  }
  // Only -inf so far: the weights are 2^-inf = 0.
  const float m = call.m[row] == kMinusInf ? 0.0f : call.m[row];
  const VF base = set1(m);
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) s[j] = exp2_approx<kDegree>(sub(s[j], base));
  store_weights(s, weights);
#pragma GCC unroll 4
  for (int n = kKeyVectors / 2; n > 0; n /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) s[j] = add(s[j], s[j + n]);
  }
  float* l = call.l + row * kLaneFloats;
  store(l, add(load(l), s[0]));
}

// --- values ----------------------------------------------------------------------------------

// o[r][columns] += P[r] . V for R rows and NV vectors of columns.
template <class Op, int R, int NV>
__attribute__((noinline)) void values_tile(const typename Op::X* p, const typename Op::B* v, int dv,
                                           Ahead ahead, float* o) {
  constexpr ptrdiff_t kStride = kWeightsOfRow<typename Op::X>;
  ptrdiff_t width = row_floats(dv);
  VF acc[R][NV];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[r][j] = load(o + r * width + j * kLanes);
  }
  contract<Op, R, NV>(p, kStride, v, dv, kKeys / Op::kPack, ahead, acc);
  // The addresses of the stores are computed again: kept from the loads, they were spilled.
  __asm__("" : "+r"(o), "+r"(width));
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) store(o + j * kLanes, acc[r][j]);
    o += width;
  }
}

template <class Op, int R>
HEED_INLINE void values_columns(int vectors, const typename Op::X* p, const typename Op::B* v,
                                int dv, Ahead ahead, float* o) {
  if constexpr (kPanel == 4) {
    if (vectors == 4) return values_tile<Op, R, 4>(p, v, dv, ahead, o);
    if (vectors == 3) return values_tile<Op, R, 3>(p, v, dv, ahead, o);
  }
  if (vectors == 2) return values_tile<Op, R, 2>(p, v, dv, ahead, o);
  values_tile<Op, R, 1>(p, v, dv, ahead, o);
}

// --- sweeps ----------------------------------------------------------------------------------

// Rows of the next register tile at or behind `from`: consecutive rows that read something.
struct Block {
  int first = 0;
  int rows = 0;  // 0: none left
};

HEED_INLINE Block next_block(const PageCall& call, int from) {
  int first = from;
  int end = call.rows;
  if (call.mask != nullptr) {
    while (first < call.rows && call.mask[first] == 0) ++first;
    end = first;
    while (end < call.rows && call.mask[end] != 0) ++end;
  }
  const int left = end - first;
  if (left <= 0) return {};
  // Tiles of equal height; few rows keep to tiles that prefetch.
  const int most = call.rows <= 4 * kTileRows ? kTileRows - 1 : kTileRows;
  const int blocks = (left + most - 1) / most;
  return {first, (left + blocks - 1) / blocks};
}

// Many rows: block i of n brings its share of the following page into L2, where the first rows of
// the next sweep would otherwise wait for it (9 cycles a line from L3, measured on Zen 4).
HEED_INLINE void prefetch_share(const PageCall& call, const void* page, size_t bytes,
                                const Block& block) {
  if (page == nullptr || block.rows < kTileRows) return;
  const size_t lines = bytes / 64, rows = static_cast<size_t>(call.rows);
  const size_t first = lines * static_cast<size_t>(block.first) / rows;
  const size_t end = lines * static_cast<size_t>(block.first + block.rows) / rows;
  for (size_t i = first; i < end; ++i) prefetch_l2(static_cast<const char*>(page) + 64 * i);
}

// s[row][64] = q . K for the rows of a block.
template <class Op>
HEED_INLINE void scores_of(const PageCall& call, const Block& block, Ahead ahead, float* s) {
  using X = typename Op::X;
  const ptrdiff_t q_stride = call.dk * Op::kSub / Op::kPack;
  const X* q = static_cast<const X*>(call.q) + block.first * q_stride;
  switch (block.rows) {
    case 1: scores_tile<Op, 1>(q, q_stride, call.k, call.dk, ahead, s); break;
    case 2: scores_tile<Op, 2>(q, q_stride, call.k, call.dk, ahead, s); break;
    case 3: scores_tile<Op, 3>(q, q_stride, call.k, call.dk, ahead, s); break;
    case 4: scores_tile<Op, 4>(q, q_stride, call.k, call.dk, ahead, s); break;
    case 5: scores_tile<Op, 5>(q, q_stride, call.k, call.dk, ahead, s); break;
    default: scores_tile<Op, 6>(q, q_stride, call.k, call.dk, ahead, s); break;
  }
}

// Weight: float, or uint32_t for pairs of bf16.
template <class Op, int kDegree, class Weight, int mode>
void sweep_scores(const PageCall& call) {
  constexpr ptrdiff_t kWeights = kWeightsOfRow<Weight>;
  // The page itself when nothing follows: a prefetch of what is there costs nothing.
  const char* next = static_cast<const char*>(call.next_k != nullptr ? call.next_k : call.k);
  alignas(64) float s[kTileRows * kKeys];
  for (Block b = next_block(call, 0); b.rows > 0; b = next_block(call, b.first + b.rows)) {
    const Ahead ahead{next, b.rows == call.rows};
    prefetch_share(call, call.next_k, sizeof(typename Op::B) * kKeys * (call.dk / Op::kPack), b);
    scores_of<Op>(call, b, ahead, s);
    Weight* p = static_cast<Weight*>(call.p) + b.first * kWeights;
#pragma GCC unroll 1
    for (int r = 0; r < b.rows; ++r) {
      softmax_row<kDegree, Weight, mode>(call, b.first + r, s + r * kKeys, p + r * kWeights);
    }
  }
}

template <class Op>
void sweep_values(const PageCall& call) {
  using X = typename Op::X;
  using B = typename Op::B;
  constexpr ptrdiff_t kWeights = kWeightsOfRow<X>;
  const char* next = static_cast<const char*>(call.next_v != nullptr ? call.next_v : call.v);
  const ptrdiff_t width = row_floats(call.dv);
  const int vectors = (call.dv + kLanes - 1) / kLanes;
  for (int j = 0; j < vectors; j += kPanel) {
    const B* v = static_cast<const B*>(call.v) + j * kLanes;
    const int n = vectors - j < kPanel ? vectors - j : kPanel;
    const char* share = next + static_cast<ptrdiff_t>(sizeof(B)) * j * kLanes * (kKeys / Op::kPack);
    for (Block b = next_block(call, 0); b.rows > 0; b = next_block(call, b.first + b.rows)) {
      const X* p = static_cast<const X*>(call.p) + b.first * kWeights;
      float* o = call.o + b.first * width + j * kLanes;
      const Ahead ahead{share, b.rows == call.rows};
      if (j == 0) {
        prefetch_share(call, call.next_v, sizeof(B) * (kKeys / Op::kPack) * call.dv, b);
      }
      switch (b.rows) {
        case 1: values_columns<Op, 1>(n, p, v, call.dv, ahead, o); break;
        case 2: values_columns<Op, 2>(n, p, v, call.dv, ahead, o); break;
        case 3: values_columns<Op, 3>(n, p, v, call.dv, ahead, o); break;
        case 4: values_columns<Op, 4>(n, p, v, call.dv, ahead, o); break;
        case 5: values_columns<Op, 5>(n, p, v, call.dv, ahead, o); break;
        default: values_columns<Op, 6>(n, p, v, call.dv, ahead, o); break;
      }
    }
  }
}

template <class Op, int kDegree, class Weight>
HEED_INLINE void sweep_scores_by_mode(const PageCall& call) {
  if (call.extras != nullptr) return sweep_scores<Op, kDegree, Weight, kGeneral>(call);
  if (call.mask != nullptr) return sweep_scores<Op, kDegree, Weight, kMasked>(call);
  sweep_scores<Op, kDegree, Weight, kPlain>(call);
}

template <class K>
HEED_INLINE void sweep_scores_by_v(const PageCall& call) {
  if (call.v_format == Bf16Page::kFormat) {
    sweep_scores_by_mode<K, 4, typename Bf16Operand::X>(call);
  } else {
    sweep_scores_by_mode<K, 6, float>(call);
  }
}

void attend_page(const PageCall& call) {
  switch (call.k_format) {
    case F32Page::kFormat: sweep_scores_by_v<F32Operand>(call); break;
    case F16Page::kFormat: sweep_scores_by_v<F16Operand>(call); break;
    default: sweep_scores_by_v<Bf16Operand>(call); break;
  }
  switch (call.v_format) {
    case F32Page::kFormat: sweep_values<F32Operand>(call); break;
    case F16Page::kFormat: sweep_values<F16Operand>(call); break;
    default: sweep_values<Bf16Operand>(call); break;
  }
}

void weigh_page(const PageCall& call) {
  switch (call.k_format) {
    case F32Page::kFormat: sweep_scores_by_mode<F32Operand, 6, float>(call); break;
    case F16Page::kFormat: sweep_scores_by_mode<F16Operand, 6, float>(call); break;
    default: sweep_scores_by_mode<Bf16Operand, 6, float>(call); break;
  }
}

template <class Op>
void sweep_raw(const PageCall& call) {
  const char* here = static_cast<const char*>(call.k);
  float* s = static_cast<float*>(call.p);
  for (Block b = next_block(call, 0); b.rows > 0; b = next_block(call, b.first + b.rows)) {
    scores_of<Op>(call, b, {here, false}, s + b.first * kKeys);
  }
}

void score_page(const PageCall& call) {
  switch (call.k_format) {
    case F32Page::kFormat: sweep_raw<F32Operand>(call); break;
    case F16Page::kFormat: sweep_raw<F16Operand>(call); break;
    default: sweep_raw<Bf16Operand>(call); break;
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
