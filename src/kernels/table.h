// What one ISA's translation unit provides, as plain function pointers.
//
// The units include this header and are compiled with their ISA's flags, so it includes nothing
// that contains code: an inline function of the standard library compiled there could be the copy
// that the linker keeps for everybody.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace heed {

enum class Format : uint8_t;  // heed/format.h; dispatch.cpp checks the order used here

namespace kernels {

// How one format lays out a page (see format_ops.h).
struct FormatOps {
  Format format;
  size_t (*k_bytes)(int dk);
  size_t (*v_bytes)(int dv);
  void (*pack_k)(void* page, int slot, int n, const float* rows, int64_t stride, int dk);
  void (*pack_v)(void* page, int slot, int n, const float* rows, int64_t stride, int dv);
  void (*unpack_k)(const void* page, int slot, int n, float* rows, int64_t stride, int dk);
  void (*unpack_v)(const void* page, int slot, int n, float* rows, int64_t stride, int dv);
  // Copies single slots to slots 0..n-1 of a page of the same layout: slot i comes from
  // pages[i], slot slots[i]. Slots behind n are zeroed: as values (also of K, by v_from_k) they
  // meet weight 0, and 0 x NaN is NaN.
  void (*gather_k)(void* page, int n, const void* const* pages, const int32_t* slots, int dk);
  void (*gather_v)(void* page, int n, const void* const* pages, const int32_t* slots, int dv);
  // The V page of which the stored K page is the transpose: its first dv columns.
  void (*v_from_k)(void* v_page, const void* k_page, int dv);
  // Query rows as the scores of this K format want them.
  size_t (*q_bytes)(int dk);  // of one packed row, a multiple of 4
  void (*pack_q)(void* packed, const float* q, float scale, int dk);
};

// Scores that are more than a scaled dot product. All in base 2: what is added to a score was
// multiplied by log2(e).
struct ScoreExtras {
  float cap = 0;                    // x -> cap * tanh(x), 0: none
  const float* bias = nullptr;      // [64] per slot, or null
  const float* slope = nullptr;     // [rows] ALiBi, or null
  const float* distance = nullptr;  // [rows] query position - origin of the page
  const float* key = nullptr;       // [64] key position - origin of the page
};

// One page against the stacked query rows of a tile. Row r's running state is (m, l, o)[r]:
// maximum, sums by lane, weighted values.
struct PageCall {
  int k_format = 0, v_format = 0;  // Format as an index
  int dk = 0, dv = 0;
  int rows = 0;
  const void* q = nullptr;  // [rows] packed by pack_q, q_bytes(dk) apart
  const void* k = nullptr;
  const void* v = nullptr;
  const void* next_k = nullptr;  // prefetched while few rows are computed; null: none
  const void* next_v = nullptr;
  const uint64_t* mask = nullptr;  // [rows] bit i: slot i is read; null: all slots by all rows
  const ScoreExtras* extras = nullptr;
  float* m = nullptr;  // [rows], base 2
  float* l = nullptr;  // [rows][kLaneFloats]
  float* o = nullptr;  // [rows][o_stride], o_stride = row_floats(dv)
  void* p = nullptr;   // scratch [rows][64] of 4 bytes
};

// Sums over the live slots of one K page, per dim; what is null is not wanted. All add to (or
// widen) what they hold, so that pages follow each other.
struct PoolCall {
  int k_format = 0;  // Format as an index
  int dk = 0;
  const void* k = nullptr;
  uint64_t live = 0;              // bit i: slot i counts
  const float* center = nullptr;  // [dk] subtracted from every key first
  float* sum = nullptr;           // [dk] of k
  float* unit = nullptr;          // [dk] of k / |k|; a zero row makes it NaN
  float* high = nullptr;          // [dk] the largest k
  float* low = nullptr;           // [dk] the smallest k
};

// Weights of a page, reduced: p [rows][64] as weigh_page leaves it, each row times weight[row];
// rows whose mask is 0 (mask null: none) are passed over. Rows are added in an order of their own
// that no ISA changes.
struct ReduceCall {
  int rows = 0;
  const float* p = nullptr;
  const float* weight = nullptr;   // [rows]
  const uint64_t* mask = nullptr;  // [rows]
  const int32_t* shift = nullptr;  // [rows] of add_diagonals
};

inline constexpr int kLaneFloats = 16;  // floats kept per running sum, enough for every ISA
inline constexpr int kTileRows = 6;     // rows of the register tile

// Accumulator rows are padded to whole vectors of the widest ISA.
constexpr int row_floats(int d) { return (d + 15) / 16 * 16; }

struct Table {
  FormatOps formats[3];  // by Format
  void (*attend_page)(const PageCall& call);
  // The first half of it: m, l and, as floats and by the precise exp2 whatever V's format, p. dv is
  // 0: there is no o that a new maximum would rescale.
  void (*weigh_page)(const PageCall& call);
  void (*score_page)(const PageCall& call);  // p = q . k as floats: no mask, no extras, no softmax
  void (*add_columns)(const ReduceCall& call, float* sums);  // [64] += p of each slot
  void (*max_columns)(const ReduceCall& call, float* most);  // [64] the largest p; NaN is ignored
  // sums[shift[row] + slot] += p
  void (*add_diagonals)(const ReduceCall& call, float* sums);
  void (*pool_page)(const PoolCall& call);
  // sum[n] += rows, unit[n] += row / |row| (null: not wanted), of `count` rows `stride` apart.
  void (*pool_rows)(const float* rows, int64_t stride, int count, int n, float* sum, float* unit);
  // acc[i] = a * acc[i] + b * part[i]
  void (*merge_rows)(float* acc, const float* part, float a, float b, int n);
  void (*scale_row)(float* out, const float* in, float scale, int n);
  // Turns pairs of leading dims: (x, y) -> (x cos - y sin, x sin + y cos); the rest is copied.
  // adjacent: pair i is (2i, 2i + 1); else (i, i + n_rot / 2). out may equal in.
  void (*rotate_row)(float* out, const float* in, const float* cos, const float* sin, int n_rot,
                     bool adjacent, int n);
  // The approximations inside attend_page, for tests. exp2 of x <= 0.
  void (*exp2_fast)(float* out, const float* in, int n);     // degree 4, where P becomes bf16
  void (*exp2_precise)(float* out, const float* in, int n);  // degree 6
  void (*tanh)(float* out, const float* in, int n);
  // Roofs: the number of operations that one call executed; 0 when the ISA has no such instruction.
  // Accumulators stay in registers, so the rate is the issue rate.
  double (*fma_loop)(int64_t rounds);
  double (*bf16_loop)(int64_t rounds);
  double (*int8_loop)(int64_t rounds);  // needs VNNI, which the caller checks (kernels.h)
  // Reads bytes (a multiple of 4,096) in whole vectors; the returned value depends on all of them.
  uint32_t (*stream_read)(const void* data, size_t bytes);
};

namespace scalar {
extern const Table kTable;
}
namespace avx2 {
extern const Table kTable;
}
namespace avx512 {
extern const Table kTable;
}
namespace avx512_bf16 {
extern const Table kTable;
}

}  // namespace kernels
}  // namespace heed
