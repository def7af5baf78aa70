// The keys of one layer of one sequence as a selector sees them, scored by attention's own rules:
//
//   score[t, j] = softcap(scale * <q[t], k_j>) + bias_j   over the live slots that the mask shows
#pragma once

#include <cstdint>

#include "heed/attention.h"
#include "kernels/kernels.h"

namespace heed::select {

struct Keys {
  const Store* store = nullptr;
  const ListView* lists = nullptr;  // [heads.n_kv]
  HeadMap heads;
  Format format = Format::kBf16;
  int dk = 0;
  float scale = 1.0f;
  float softcap = 0.0f;  // 0: none
  MaskKind mask = MaskKind::kCausal;
  int window = 0;
  Isa isa = Isa::kScalar;
};

// Rows of the tile that weighs a page at once: what a selector's thread keeps of them stays in L1.
inline constexpr int kProbeTile = 96;

// Sizes that bound what selection of a call needs, settled before the graph.
struct SelectBound {
  int32_t rows = 0;   // of queries
  int64_t slots = 0;  // of the longest list
};

int32_t longest_list(const Keys& keys);

inline const kernels::FormatOps& k_ops(const Keys& keys) {
  return kernels::format_ops(keys.isa, keys.format);
}

// Blocks of `block` positions, anchored at position 0, that rows at pos0 ... touch.
struct QueryBlocks {
  int64_t first = 0;  // position / block of the first one
  int32_t count = 0;
};
QueryBlocks query_blocks(int64_t pos0, int32_t rows, int32_t block);

// What packed queries carry besides `divisor`, and the cap of their scores in base 2.
double query_factor(const Keys& keys, double divisor);
kernels::ScoreExtras score_extras(const Keys& keys);

inline uint64_t live_slots(const ListView& list, int32_t page) {
  return list.live != nullptr ? list.live[page] : ~uint64_t{0};
}

// Which of the 64 columns from `column` rows see, row i being shown [first[i], end[i]).
enum class Seen { kNothing, kPart, kAll };
Seen mask_columns(const int32_t* first, const int32_t* end, int rows, int64_t column, uint64_t live,
                  uint64_t* mask);

// Attention's bias of the slots of a page, in base 2; 0 behind the list's end.
void page_bias(const ListView& list, int64_t slot0, float* bias);

}  // namespace heed::select
