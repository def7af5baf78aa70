// Which slots of a list a query may read, by the call's mask kind.
#pragma once

#include <algorithm>
#include <cstdint>

#include "heed/attention.h"

namespace heed {

// Slots of `list` with a position <= `position`.
inline int32_t slots_up_to(const ListView& list, int64_t position) {
  if (list.pos != nullptr) {
    return static_cast<int32_t>(std::upper_bound(list.pos, list.pos + list.len, position) -
                                list.pos);
  }
  return static_cast<int32_t>(std::clamp<int64_t>(position - list.pos0 + 1, 0, list.len));
}

// Slots [first, end) that a query at `position` sees.
struct Visible {
  int32_t first = 0;
  int32_t end = 0;
};

inline Visible visible_slots(MaskKind mask, int window, const ListView& list, int64_t position) {
  switch (mask) {
    case MaskKind::kNone: return {0, list.len};
    case MaskKind::kCausal: return {0, slots_up_to(list, position)};
    case MaskKind::kWindow:
      return {slots_up_to(list, position - window), slots_up_to(list, position)};
  }
  return {0, list.len};
}

inline Visible visible_slots(const Call& call, const ListView& list, int64_t position) {
  return visible_slots(call.mask, call.window, list, position);
}

// Bits [first, end) of a page; either may lie outside 0..64.
inline uint64_t bit_range(int64_t first, int64_t end) {
  first = std::max<int64_t>(first, 0);
  end = std::min<int64_t>(end, kPageTokens);
  if (first >= end) return 0;
  return (~uint64_t{0} << first) & (~uint64_t{0} >> (kPageTokens - end));
}

inline int64_t query_position(const SeqRows& seq, int32_t row) {
  return seq.pos != nullptr ? seq.pos[row] : seq.pos0 + row;
}

inline int64_t slot_position(const ListView& list, int32_t slot) {
  return list.pos != nullptr ? list.pos[slot] : list.pos0 + slot;
}

// Query heads that read one KV head.
inline int group_size(const HeadMap& heads, int kv_head) {
  if (heads.kv_of_q == nullptr) return heads.n_q / heads.n_kv;
  int n = 0;
  for (int h = 0; h < heads.n_q; ++h) n += heads.kv_of_q[h] == kv_head;
  return n;
}

inline int largest_group(const HeadMap& heads) {
  int largest = 1;
  for (int g = 0; g < heads.n_kv; ++g) largest = std::max(largest, group_size(heads, g));
  return largest;
}

}  // namespace heed
