// Packing of pages: the layouts of format_ops.h, written and read. K is a transpose, done in
// registers in tiles of kLanes x kLanes; only the ragged tokens at the ends of a call are scattered
// one by one. All rounding is by integer or F16C, so every ISA stores the same bits.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kSlots = 64;

constexpr size_t round_64(size_t bytes) { return (bytes + 63) / 64 * 64; }

// One V row may be read in whole vectors of up to 16 columns, the last one too.
constexpr size_t v_page_bytes(int rows, int dv, size_t column_bytes) {
  const size_t columns = static_cast<size_t>(rows - 1) * static_cast<size_t>(dv);
  return round_64((columns + static_cast<size_t>(row_floats(dv))) * column_bytes);
}

// --- one layout each: how a tile of K dims x tokens is stored and read -----------------------

struct F32Page {
  static constexpr int kFormat = 0;
  using Word = float;
  static size_t k_bytes(int dk) { return static_cast<size_t>(dk) * kSlots * 4; }
  static size_t v_bytes(int dv) { return v_page_bytes(64, dv, 4); }
  // x[i] = dim d + i of kLanes tokens, n dims valid.
  static HEED_INLINE void store_dims(void* page, int slot, int d, int n, const VI* x) {
    float* k = static_cast<float*>(page) + d * kSlots + slot;
    for (int i = 0; i < n; ++i) store_words(k + i * kSlots, x[i]);
  }
  static HEED_INLINE void store_token(void* page, int slot, int d, int n, VF x) {
    float tmp[kLanes];
    store(tmp, x);
    float* k = static_cast<float*>(page) + d * kSlots + slot;
    for (int i = 0; i < n; ++i) k[i * kSlots] = tmp[i];
  }
  // Dim d of tokens [slot, slot + kLanes).
  static HEED_INLINE VF load_dim(const void* page, int slot, int d) {
    return load(static_cast<const float*>(page) + d * kSlots + slot);
  }
};

struct F16Page {
  static constexpr int kFormat = 1;
  using Word = uint16_t;
  static size_t k_bytes(int dk) { return static_cast<size_t>(dk) * kSlots * 2; }
  static size_t v_bytes(int dv) { return v_page_bytes(64, dv, 2); }
  static HEED_INLINE void store_dims(void* page, int slot, int d, int n, const VI* x) {
    uint16_t* k = static_cast<uint16_t*>(page) + d * kSlots + slot;
    for (int i = 0; i < n; ++i) store_f16(k + i * kSlots, as_float(x[i]));
  }
  static HEED_INLINE void store_token(void* page, int slot, int d, int n, VF x) {
    uint16_t tmp[kLanes];
    store_f16(tmp, x);
    uint16_t* k = static_cast<uint16_t*>(page) + d * kSlots + slot;
    for (int i = 0; i < n; ++i) k[i * kSlots] = tmp[i];
  }
  static HEED_INLINE VF load_dim(const void* page, int slot, int d) {
    return load_f16(static_cast<const uint16_t*>(page) + d * kSlots + slot);
  }
};

struct Bf16Page {
  static constexpr int kFormat = 2;
  using Word = uint32_t;  // two dims (K) or two tokens (V)
  static size_t k_bytes(int dk) { return static_cast<size_t>(dk) * kSlots * 2; }
  static size_t v_bytes(int dv) { return v_page_bytes(32, dv, 4); }
  static HEED_INLINE void store_dims(void* page, int slot, int d, int n, const VI* x) {
    uint32_t* k = static_cast<uint32_t*>(page) + d / 2 * kSlots + slot;
    for (int i = 0; i < n; i += 2) {
      store_words(k + i / 2 * kSlots, pair_words(as_float(x[i]), as_float(x[i + 1])));
    }
  }
  static HEED_INLINE void store_token(void* page, int slot, int d, int n, VF x) {
    uint32_t tmp[kLanes];
    store_words(tmp, round_bf16(x));
    uint32_t* k = static_cast<uint32_t*>(page) + d / 2 * kSlots + slot;
    for (int i = 0; i < n; i += 2) k[i / 2 * kSlots] = (tmp[i] >> 16) | tmp[i + 1];
  }
  static HEED_INLINE VF load_dim(const void* page, int slot, int d) {
    const VI w = load_words(static_cast<const uint32_t*>(page) + d / 2 * kSlots + slot);
    return as_float(d & 1 ? and_words(w, set1_word(0xFFFF0000u)) : shift_left<16>(w));
  }
};

// --- K ---------------------------------------------------------------------------------------

template <class Page>
void pack_k(void* page, int slot, int n, const float* rows, int64_t stride, int dk) {
  int t = 0;
  for (; t + kLanes <= n; t += kLanes) {
    for (int d = 0; d < dk; d += kLanes) {
      const int dims = dk - d < kLanes ? dk - d : kLanes;
      VI x[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (t + kLanes + i < n) prefetch_l2(rows + (t + kLanes + i) * stride + d);
        x[i] = as_words(load_first(rows + (t + i) * stride + d, dims));
      }
      transpose(x);
      Page::store_dims(page, slot + t, d, dims, x);
    }
  }
  for (; t < n; ++t) {
    for (int d = 0; d < dk; d += kLanes) {
      const int dims = dk - d < kLanes ? dk - d : kLanes;
      Page::store_token(page, slot + t, d, dims, load_first(rows + t * stride + d, dims));
    }
  }
}

template <class Page>
void unpack_k(const void* page, int slot, int n, float* rows, int64_t stride, int dk) {
  for (int d = 0; d < dk; ++d) {
    float keys[kSlots];
    for (int i = 0; i < kSlots; i += kLanes) store(keys + i, Page::load_dim(page, i, d));
    for (int t = 0; t < n; ++t) rows[t * stride + d] = keys[slot + t];
  }
}

template <class Page>
void gather_k(void* page, int n, const void* const* pages, const int32_t* slots, int dk) {
  using Word = typename Page::Word;
  const int steps = Page::kFormat == 2 ? dk / 2 : dk;
  Word* out = static_cast<Word*>(page);
  const Word* from[kSlots];
  for (int i = 0; i < n; ++i) from[i] = static_cast<const Word*>(pages[i]) + slots[i];
  for (int c = 0; c < steps; ++c) {
    for (int i = 0; i < n; ++i) out[c * kSlots + i] = from[i][c * kSlots];
    for (int i = n; i < kSlots; ++i) out[c * kSlots + i] = 0;
  }
}

// --- V ---------------------------------------------------------------------------------------

void pack_v_f32(void* page, int slot, int n, const float* rows, int64_t stride, int dv) {
  float* v = static_cast<float*>(page) + static_cast<ptrdiff_t>(slot) * dv;
  for (int t = 0; t < n; ++t) {
    for (int d = 0; d < dv; d += kLanes) {
      store_first(v + static_cast<ptrdiff_t>(t) * dv + d, load_first(rows + t * stride + d, dv - d),
                  dv - d);
    }
  }
}

void pack_v_f16(void* page, int slot, int n, const float* rows, int64_t stride, int dv) {
  uint16_t* v = static_cast<uint16_t*>(page) + static_cast<ptrdiff_t>(slot) * dv;
  for (int t = 0; t < n; ++t) {
    for (int d = 0; d < dv; d += kLanes) {
      store_first_f16(v + static_cast<ptrdiff_t>(t) * dv + d,
                      load_first(rows + t * stride + d, dv - d), dv - d);
    }
  }
}

// One token of a pair whose other half must stay.
void pack_v_half(uint32_t* words, bool upper, const float* row, int dv) {
  for (int d = 0; d < dv; d += kLanes) {
    const VI old = load_first_words(words + d, dv - d);
    const VI x = round_bf16(load_first(row + d, dv - d));
    const VI both = upper ? or_words(and_words(old, set1_word(0xFFFFu)), x)
                          : or_words(and_words(old, set1_word(0xFFFF0000u)), shift_right<16>(x));
    store_first_words(words + d, both, dv - d);
  }
}

void pack_v_bf16(void* page, int slot, int n, const float* rows, int64_t stride, int dv) {
  uint32_t* v = static_cast<uint32_t*>(page);
  for (int t = 0; t < n;) {
    const int s = slot + t;
    uint32_t* words = v + static_cast<ptrdiff_t>(s / 2) * dv;
    if ((s & 1) != 0 || t + 1 == n) {
      pack_v_half(words, (s & 1) != 0, rows + t * stride, dv);
      t += 1;
      continue;
    }
    for (int d = 0; d < dv; d += kLanes) {
      const VF a = load_first(rows + t * stride + d, dv - d);
      const VF b = load_first(rows + (t + 1) * stride + d, dv - d);
      store_first_words(words + d, pair_words(a, b), dv - d);
    }
    t += 2;
  }
}

void unpack_v_f32(const void* page, int slot, int n, float* rows, int64_t stride, int dv) {
  const float* v = static_cast<const float*>(page) + static_cast<ptrdiff_t>(slot) * dv;
  for (int t = 0; t < n; ++t) {
    for (int d = 0; d < dv; ++d) rows[t * stride + d] = v[static_cast<ptrdiff_t>(t) * dv + d];
  }
}

void unpack_v_f16(const void* page, int slot, int n, float* rows, int64_t stride, int dv) {
  const uint16_t* v = static_cast<const uint16_t*>(page) + static_cast<ptrdiff_t>(slot) * dv;
  for (int t = 0; t < n; ++t) {
    for (int d = 0; d < dv; d += kLanes) {
      const uint16_t* from = v + static_cast<ptrdiff_t>(t) * dv + d;
      store_first(rows + t * stride + d, load_first_f16(from, dv - d), dv - d);
    }
  }
}

void unpack_v_bf16(const void* page, int slot, int n, float* rows, int64_t stride, int dv) {
  const uint32_t* v = static_cast<const uint32_t*>(page);
  for (int t = 0; t < n; ++t) {
    const int s = slot + t;
    for (int d = 0; d < dv; d += kLanes) {
      const VI w = load_first_words(v + static_cast<ptrdiff_t>(s / 2) * dv + d, dv - d);
      const VI x = s & 1 ? and_words(w, set1_word(0xFFFF0000u)) : shift_left<16>(w);
      store_first(rows + t * stride + d, as_float(x), dv - d);
    }
  }
}

template <class Page>
void gather_v(void* page, int n, const void* const* pages, const int32_t* slots, int dv) {
  using Word = typename Page::Word;
  Word* out = static_cast<Word*>(page);
  for (int i = 0; i < n; ++i) {
    const Word* from = static_cast<const Word*>(pages[i]) + static_cast<ptrdiff_t>(slots[i]) * dv;
    for (int d = 0; d < dv; ++d) out[static_cast<ptrdiff_t>(i) * dv + d] = from[d];
  }
  for (ptrdiff_t j = static_cast<ptrdiff_t>(n) * dv; j < static_cast<ptrdiff_t>(kSlots) * dv; ++j) {
    out[j] = 0;
  }
}

template <>
void gather_v<Bf16Page>(void* page, int n, const void* const* pages, const int32_t* slots, int dv) {
  uint32_t* out = static_cast<uint32_t*>(page);
  for (int i = 0; i < kSlots; i += 2) {
    uint32_t* words = out + static_cast<ptrdiff_t>(i / 2) * dv;
    const bool first = i < n, second = i + 1 < n;
    const int a = first ? slots[i] : 0, b = second ? slots[i + 1] : 0;
    const uint32_t* pa = first ? static_cast<const uint32_t*>(pages[i]) + a / 2 * dv : words;
    const uint32_t* pb = second ? static_cast<const uint32_t*>(pages[i + 1]) + b / 2 * dv : words;
    const uint32_t keep_a = first ? 0xFFFFu : 0, keep_b = second ? 0xFFFF0000u : 0;
    const int shift_a = a & 1 ? 16 : 0, shift_b = b & 1 ? 0 : 16;
    for (int d = 0; d < dv; ++d) {
      words[d] = ((pa[d] >> shift_a) & keep_a) | ((pb[d] << shift_b) & keep_b);
    }
  }
}

// V of latent attention: the first dv dims of K, transposed back into V's layout.
template <class Page>
void v_from_k(void* v_page, const void* k_page, int dv) {
  using Word = typename Page::Word;
  Word* v = static_cast<Word*>(v_page);
  for (int t = 0; t < kSlots; t += kLanes) {
    for (int d = 0; d < dv; d += kLanes) {
      const int dims = dv - d < kLanes ? dv - d : kLanes;
      VI x[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        x[i] = as_words(i < dims ? Page::load_dim(k_page, t, d + i) : zero());
      }
      transpose(x);
      for (int i = 0; i < kLanes; ++i) {
        Word* row = v + static_cast<ptrdiff_t>(t + i) * dv + d;
        if constexpr (Page::kFormat == 0) {
          store_first(row, as_float(x[i]), dims);
        } else {
          store_first_f16(row, as_float(x[i]), dims);
        }
      }
    }
  }
}

template <>
void v_from_k<Bf16Page>(void* v_page, const void* k_page, int dv) {
  const uint32_t* k = static_cast<const uint32_t*>(k_page);
  uint32_t* v = static_cast<uint32_t*>(v_page);
  const VI low = set1_word(0xFFFFu), high = set1_word(0xFFFF0000u);
  for (int t = 0; t < kSlots; t += kLanes) {
    for (int d = 0; d < dv; d += 2 * kLanes) {
      const int words = (dv - d) / 2 < kLanes ? (dv - d) / 2 : kLanes;
      VI x[kLanes];  // [dim pair][token], then [token][dim pair]
      for (int i = 0; i < kLanes; ++i) {
        x[i] = i < words ? load_words(k + static_cast<ptrdiff_t>(d / 2 + i) * kSlots + t)
                         : set1_word(0);
      }
      transpose(x);
      for (int i = 0; i < kLanes; i += 2) {
        const VI even = or_words(and_words(x[i], low), shift_left<16>(x[i + 1]));
        const VI odd = or_words(shift_right<16>(x[i]), and_words(x[i + 1], high));
        uint32_t* row = v + static_cast<ptrdiff_t>((t + i) / 2) * dv + d;
        uint32_t tail[2 * kLanes];
        store_interleaved(words == kLanes ? row : tail, even, odd);
        for (int j = 0; words < kLanes && j < 2 * words; ++j) row[j] = tail[j];
      }
    }
  }
}

// --- queries ---------------------------------------------------------------------------------

size_t q_bytes_float(int dk) { return static_cast<size_t>(dk) * 4; }

void pack_q_float(void* packed, const float* q, float scale, int dk) {
  float* out = static_cast<float*>(packed);
  for (int d = 0; d < dk; ++d) out[d] = q[d] * scale;
}

#if defined(HEED_BF16_DOT)
size_t q_bytes_bf16(int dk) { return static_cast<size_t>(dk) * 2; }

void pack_q_bf16(void* packed, const float* q, float scale, int dk) {
  uint32_t* out = static_cast<uint32_t*>(packed);
  const VF s = set1(scale);
  for (int d = 0; d < dk; d += 2 * kLanes) {
    const VF a = mul(s, load_first(q + d, dk - d));
    const VF b = dk - d > kLanes ? mul(s, load_first(q + d + kLanes, dk - d - kLanes)) : zero();
    store_first_words(out + d / 2, to_bf16_pairs(a, b), (dk - d) / 2);
  }
}
#else
size_t q_bytes_bf16(int dk) { return q_bytes_float(dk); }
void pack_q_bf16(void* packed, const float* q, float scale, int dk) {
  pack_q_float(packed, q, scale, dk);
}
#endif

}  // namespace
}  // namespace heed::kernels::HEED_ISA
