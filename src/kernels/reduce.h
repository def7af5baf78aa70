// What selectors read out of weights and keys: sums of a page's weights by slot and by distance,
// and sums, extremes and directions of its keys. Memory is read once and the arithmetic is light,
// so these are loops over whole vectors, not tiles. No include guard: each ISA's unit includes this
// text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

HEED_INLINE bool passed_over(const ReduceCall& call, int row) {
  return call.mask != nullptr && call.mask[row] == 0;
}

// row(x, w, acc) for each row: its 64 weights, its factor, the slots' accumulators.
template <class Row>
HEED_INLINE void reduce_columns(const ReduceCall& call, float* out, Row row) {
  VF acc[kKeyVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) acc[j] = load(out + j * kLanes);
  for (int r = 0; r < call.rows; ++r) {
    if (passed_over(call, r)) continue;
    const VF w = set1(call.weight[r]);
    const float* p = call.p + r * kKeys;
#pragma GCC unroll 16
    for (int j = 0; j < kKeyVectors; ++j) acc[j] = row(load(p + j * kLanes), w, acc[j]);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) store(out + j * kLanes, acc[j]);
}

void add_columns(const ReduceCall& call, float* sums) {
  reduce_columns(call, sums, [](VF p, VF w, VF acc) HEED_LAMBDA_INLINE { return fma(w, p, acc); });
}

void max_columns(const ReduceCall& call, float* most) {
  reduce_columns(call, most,
                 [](VF p, VF w, VF acc) HEED_LAMBDA_INLINE { return max(mul(w, p), acc); });
}

// Neighbouring rows lie one float apart, and a load across two fresh stores waits until both left
// the store buffer: rows are taken 16 apart, where a load meets one whole store.
void add_diagonals(const ReduceCall& call, float* sums) {
  constexpr int kStep = 16;
  for (int first = 0; first < kStep; ++first) {
    for (int r = first; r < call.rows; r += kStep) {
      if (passed_over(call, r)) continue;
      const VF w = set1(call.weight[r]);
      const float* p = call.p + r * kKeys;
      float* d = sums + call.shift[r];
#pragma GCC unroll 16
      for (int j = 0; j < kKeys; j += kLanes) store(d + j, fma(w, load(p + j), load(d + j)));
    }
  }
}

// --- keys ------------------------------------------------------------------------------------

// The live keys of one dim, minus its centre; `dead` elsewhere.
template <class Page>
HEED_INLINE void load_keys(const PoolCall& call, int d, VF dead, VF (&x)[kKeyVectors]) {
  const VF center = call.center != nullptr ? set1(call.center[d]) : zero();
#pragma GCC unroll 16
  for (int j = 0; j < kKeyVectors; ++j) {
    const VF key = sub(Page::load_dim(call.k, j * kLanes, d), center);
    x[j] = select_bits(call.live, j * kLanes, key, dead);
  }
}

// out[d] = fold(out[d], every vector that term(d) yields), kLanes dims at a time: each dim folds
// its slots into one vector, a transpose brings the lanes of all of them side by side.
template <class Term, class Fold>
HEED_INLINE void fold_dims(int dk, float* out, VF neutral, Term term, Fold fold) {
  for (int d = 0; d < dk; d += kLanes) {
    const int dims = dk - d < kLanes ? dk - d : kLanes;
    VI lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      VF acc = neutral;
      if (i < dims) {
        VF x[kKeyVectors];
        term(d + i, x);
        acc = x[0];
#pragma GCC unroll 16
        for (int j = 1; j < kKeyVectors; ++j) acc = fold(acc, x[j]);
      }
      lanes[i] = as_words(acc);
    }
    transpose(lanes);
    VF all = as_float(lanes[0]);
#pragma GCC unroll 16
    for (int i = 1; i < kLanes; ++i) all = fold(all, as_float(lanes[i]));
    store_first(out + d, fold(load_first(out + d, dims), all), dims);
  }
}

// 1 / |k| of the live slots, 0 of the others.
template <class Page>
HEED_INLINE void inverse_norms(const PoolCall& call, VF (&inverse)[kKeyVectors]) {
  VF squares[kKeyVectors];
  for (VF& x : squares) x = zero();
  for (int d = 0; d < call.dk; ++d) {
    VF x[kKeyVectors];
    load_keys<Page>(call, d, zero(), x);
#pragma GCC unroll 16
    for (int j = 0; j < kKeyVectors; ++j) squares[j] = fma(x[j], x[j], squares[j]);
  }
  float norm[kKeys];
  for (int j = 0; j < kKeyVectors; ++j) store(norm + j * kLanes, squares[j]);
  for (float& x : norm) x = 1.0f / __builtin_sqrtf(x);
  for (int j = 0; j < kKeyVectors; ++j) {
    inverse[j] = select_bits(call.live, j * kLanes, load(norm + j * kLanes), zero());
  }
}

template <class Page>
void pool_page_of(const PoolCall& call) {
  const auto plus = [](VF a, VF b) HEED_LAMBDA_INLINE { return add(a, b); };
  const auto larger = [](VF a, VF b) HEED_LAMBDA_INLINE { return max(a, b); };
  const VF none = set1(kMinusInf);
  if (call.sum != nullptr) {
    fold_dims(
        call.dk, call.sum, zero(),
        [&](int d, VF(&x)[kKeyVectors]) HEED_LAMBDA_INLINE { load_keys<Page>(call, d, zero(), x); },
        plus);
  }
  if (call.unit != nullptr) {
    VF inverse[kKeyVectors];
    inverse_norms<Page>(call, inverse);
    fold_dims(
        call.dk, call.unit, zero(),
        [&](int d, VF(&x)[kKeyVectors]) HEED_LAMBDA_INLINE {
          load_keys<Page>(call, d, zero(), x);
#pragma GCC unroll 16
          for (int j = 0; j < kKeyVectors; ++j) x[j] = mul(x[j], inverse[j]);
        },
        plus);
  }
  if (call.high != nullptr) {
    fold_dims(
        call.dk, call.high, none,
        [&](int d, VF(&x)[kKeyVectors]) HEED_LAMBDA_INLINE { load_keys<Page>(call, d, none, x); },
        larger);
  }
  if (call.low != nullptr) {  // the largest of -k
    for (int d = 0; d < call.dk; ++d) call.low[d] = -call.low[d];
    fold_dims(
        call.dk, call.low, none,
        [&](int d, VF(&x)[kKeyVectors]) HEED_LAMBDA_INLINE {
          load_keys<Page>(call, d, sub(zero(), none), x);
#pragma GCC unroll 16
          for (int j = 0; j < kKeyVectors; ++j) x[j] = sub(zero(), x[j]);
        },
        larger);
    for (int d = 0; d < call.dk; ++d) call.low[d] = -call.low[d];
  }
}

void pool_page(const PoolCall& call) {
  switch (call.k_format) {
    case F32Page::kFormat: pool_page_of<F32Page>(call); break;
    case F16Page::kFormat: pool_page_of<F16Page>(call); break;
    default: pool_page_of<Bf16Page>(call); break;
  }
}

// 1 / |row|.
HEED_INLINE float inverse_norm(const float* row, int n) {
  VF acc = zero();
  for (int i = 0; i < n; i += kLanes) {
    const VF x = load_first(row + i, n - i);
    acc = fma(x, x, acc);
  }
  float lanes[kLanes];
  store(lanes, acc);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return 1.0f / __builtin_sqrtf(lanes[0]);
}

HEED_INLINE void add_row(float* sum, const float* row, float weight, int n) {
  const VF w = set1(weight);
  for (int i = 0; i < n; i += kLanes) {
    const VF total = fma(w, load_first(row + i, n - i), load_first(sum + i, n - i));
    store_first(sum + i, total, n - i);
  }
}

void pool_rows(const float* rows, int64_t stride, int count, int n, float* sum, float* unit) {
  for (int r = 0; r < count; ++r) {
    const float* row = rows + r * stride;
    add_row(sum, row, 1.0f, n);
    if (unit != nullptr) add_row(unit, row, inverse_norm(row, n), n);
  }
}

}  // namespace
}  // namespace heed::kernels::HEED_ISA
