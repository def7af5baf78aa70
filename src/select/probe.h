// Probe rows: the exact softmax of a few query rows over all keys of a list, reduced on the fly.
//
//   P[i, j] = softmax_j(score[i, j]),   columns[j] = sum_i P[i, j],
//   diagonals[s] = sum_i P[i, own(i) - s]   (own(i): the slot of row i's own position)
//
// Two passes over the pages: maxima and sums, then weights that are reduced while they are in L1;
// no map of rows x slots is kept unless it is asked for. Twice 2 * rows * S * dk operations a head.
// Every sum has an order fixed by pages and rows, so no number of threads changes a bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "select/keys.h"

namespace heed::select {

// Per query head; null is not wanted. `stride` floats from head to head (and from row to row of the
// map) are at least the longest list; what lies behind a list is not written.
struct ProbeOutputs {
  float* columns = nullptr;    // [H, stride]
  float* diagonals = nullptr;  // [H, stride] by distance in slots, 0 for a row's own; not for kNone
  float* page_max = nullptr;   // [H, page_stride] the largest P of any row in a page
  float* map = nullptr;        // [H, rows, stride]
  float* lse = nullptr;        // [H, rows] natural; -inf where a row sees nothing
  int64_t stride = 0;
  int64_t page_stride = 0;
};

class Probe {
 public:
  // Memory that all threads share, and that each thread has of its own, 64-byte aligned.
  static size_t shared_bytes(const Keys& keys, const SelectBound& bound, bool diagonals);
  static size_t thread_bytes(const Keys& keys, const SelectBound& bound);

  // q [rows, H, dk], rotated, last stride 1: rows at positions pos0, pos0 + 1, ...; `shared` is for
  // at least these rows and the longest list. Borrows everything.
  Probe(const Keys& keys, View<const float, 3> q, int64_t pos0, const ProbeOutputs& out,
        void* shared);

  // Phases in order, a barrier between them; the units of a phase in any order, each by one thread.
  static constexpr int kPhases = 5;
  int64_t units(int phase) const;
  void run(int phase, int64_t unit, void* thread) const;

 private:
  struct Shared;
  struct Thread;
  static Shared cut_shared(void* memory, size_t* bytes, const Keys& keys, int rows, int64_t slots,
                           bool diagonals);
  static Thread cut_thread(void* memory, size_t* bytes, const Keys& keys, int rows);

  void pack(int h) const;
  void find_limits(int g) const;
  void gather_statistics(int g, int split, const Thread& t) const;
  void merge_statistics(int h) const;
  void reduce(int g, int split, const Thread& t) const;
  void finish_diagonals(int h) const;
  // use(call, h, index of h in its group, first row, page) for every tile of a split that sees
  // something.
  template <class Use>
  void for_tiles(int g, int split, const Thread& t, Use use) const;
  void clear_outputs(int g, int split) const;
  void reduce_tile(const kernels::PageCall& call, int h, int row, int page, int split,
                   const Thread& t) const;

  struct Shared {
    uint8_t* q = nullptr;      // [H][rows] packed
    int32_t* first = nullptr;  // [G][rows] visible slots [first, end)
    int32_t* end = nullptr;
    int32_t* last_end = nullptr;  // [G] the largest end
    float* part_m = nullptr;      // [H][splits][rows] base 2
    float* part_l = nullptr;
    float* m = nullptr;          // [H][rows]
    float* weight = nullptr;     // [H][rows] 1 / sum
    float* diagonals = nullptr;  // [H][splits][kSplitSlots + rows - 1], by slot + shift of the row
  };

  const Keys keys_;
  const View<const float, 3> q_;
  const int64_t pos0_;
  const ProbeOutputs out_;
  const kernels::Table& kernels_;
  const kernels::FormatOps& ops_;
  const int rows_;
  const int splits_;
  size_t q_bytes_ = 0;
  Shared shared_;
};

// sums[b] = sum of x in [first + b * block, first + (b + 1) * block), in order; first <= 0 where
// the blocks are anchored before x begins. Returns the number of blocks.
int64_t block_sums(const float* x, int64_t n, int64_t first, int64_t block, float* sums);

}  // namespace heed::select
