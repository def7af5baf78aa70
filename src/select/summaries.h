// Summaries of blocks of keys: mean, extremes, self-similarity; kept from chunk to chunk, because a
// block that is full does not change any more.
//
// They lie in panels of 64 blocks, [dim][64] fp32, which is the page of 64 keys that attention's
// score tile reads: pooled scores and bounds are its products (block_scores.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "heed/status.h"
#include "select/keys.h"

namespace heed::select {

inline constexpr int kPanelBlocks = kPageTokens;

enum SummaryKind : unsigned {
  kMeans = 1,     // mean over the live keys
  kExtremes = 2,  // the largest and the smallest of every dim
  kSelfSimilarity =
      4,  // ||mean of k / |k| ||^2 = the mean cosine of all pairs; NaN with a zero key
};

// Blocks count slots of the list, `block` of them each, from slot 0. A block without a live key has
// mean 0 and extremes 0.
class KeySummaries {
 public:
  // block: a multiple of 64. kinds: SummaryKind bits.
  KeySummaries(int kv_heads, int dk, int block, unsigned kinds);

  // Room for lists of this many slots, so that update does not allocate; keeps what is there.
  // Errors: memory; then nothing has changed.
  Status reserve(int64_t slots);
  size_t bytes() const;

  // Forgets what describes slots from `slots` on. Whoever truncates or rewrites a list says so:
  // pages are recognised by their handle, and a handle may come back with other keys.
  void truncate(int64_t slots);

  // One update: begin (one thread), run of every unit, end (one thread). Blocks that were full and
  // whose pages are the same are left alone. Longer lists than reserved for are cut there.
  void begin(const Keys& keys);
  int64_t units() const { return units_; }
  void run(const Keys& keys, int64_t unit);
  void end();

  int block() const { return block_; }
  int dk() const { return dk_; }
  int32_t blocks(int kv_head) const { return lists_[kv_head].blocks; }  // the last may be partial
  int64_t computed() const { return computed_; }  // blocks that updates read, ever

  // Panels of one list, panel_floats apart: means [dk][64]; bounds [2 dk][64], the largest above
  // the smallest.
  const float* means(int kv_head) const { return lists_[kv_head].means; }
  const float* bounds(int kv_head) const { return lists_[kv_head].bounds; }
  const float* similarity(int kv_head) const { return lists_[kv_head].similarity; }  // [blocks]

 private:
  struct List {
    float* means = nullptr;
    float* bounds = nullptr;
    float* similarity = nullptr;
    PageId* pages = nullptr;  // of the full blocks, [capacity * block / 64]
    int32_t full = 0;         // blocks known to be full and unchanged
    int32_t blocks = 0;
    int32_t len = 0;  // of the update at hand
  };
  Status grow(int64_t slots);
  size_t cut(uint8_t* memory, int64_t capacity, std::vector<List>& lists) const;
  int32_t blocks_of(const ListView& list) const;

  int dk_, block_;
  unsigned kinds_;
  int64_t capacity_ = 0;  // blocks, a multiple of 64
  size_t bytes_ = 0;
  AlignedMemory memory_;
  std::vector<List> lists_;
  std::vector<int64_t> first_unit_;  // [kv_heads + 1] of the update at hand
  int64_t units_ = 0;
  int64_t computed_ = 0;
};

// Means over query blocks, by position: mean [H, blocks, dk], similarity [H, blocks] or null, of
// the blocks that query_blocks names. q [rows, H, dk]. Unit: (head, block).
struct QueryPooling {
  View<const float, 3> q;
  int64_t pos0 = 0;
  int block = 128;
  Isa isa = Isa::kScalar;
  float* mean = nullptr;
  float* similarity = nullptr;

  int64_t units() const;
  void run(int64_t unit) const;
};

// ||mean of x / |x| ||^2 over the live keys of one block, x = k - center (null: k): what smoothing
// by the mean of all keys, which moves with every chunk, leaves of it.
float self_similarity(const Keys& keys, int kv_head, int64_t at, int block, const float* center);

// Mean over all live keys of a list, for smoothing: [dk] from the means of its blocks.
void mean_of_keys(const KeySummaries& summaries, const ListView& list, int kv_head, float* mean);

}  // namespace heed::select
