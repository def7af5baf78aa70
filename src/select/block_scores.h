// Scores of blocks of keys by their summaries, for single queries or for pooled ones: pooled x
// pooled, and the bound of a block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "select/summaries.h"

namespace heed::select {

// A score q . k of no key of the block exceeds, but for the rounding of fp32:
// sum_d max(q_d high_d, q_d low_d) = <[q+, q-], [high, low]>, a product of twice the dims.
enum class BlockScore : uint8_t { kMean, kBound };

struct BlockScores {
  Isa isa = Isa::kScalar;
  BlockScore kind = BlockScore::kMean;
  const KeySummaries* summaries = nullptr;
  int kv_head = 0;
  const float* q = nullptr;  // [rows, dk]
  int64_t q_stride = 0;
  int rows = 0;
  float scale = 1.0f;
  // [rows] blocks [0, visible) may be seen, the others score -inf; null: all.
  const int32_t* visible = nullptr;
  // [blocks] blocks of keys that score -inf where it is 0; null: none.
  const uint8_t* allowed = nullptr;
  float* out = nullptr;  // [rows, out_stride], out_stride >= blocks
  int64_t out_stride = 0;

  static size_t thread_bytes(int dk);
  void run(void* thread) const;
};

// Blocks of `block` slots that begin at or before the last slot which a query at `position` sees.
int32_t visible_blocks(const ListView& list, int64_t position, int block);

// x <- softmax(x) of n scores, natural. -inf gives 0; all -inf gives 0 everywhere.
void softmax_row(Isa isa, float* x, int32_t n);

}  // namespace heed::select
