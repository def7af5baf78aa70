// The pages of one (sequence, layer, KV head), and what an open transaction did to them.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "heed/kv.h"
#include "kv/side_arrays.h"

namespace heed::kv {

// Slots of a list and positions of tokens are below 2^31: plans and side arrays keep 32 bits.
inline constexpr int64_t kMaxSlots = std::numeric_limits<int32_t>::max();
inline constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();

struct List {
  std::vector<PageId> pages;
  SideArrays side;
  int32_t len = 0;      // committed slots
  int32_t pending = 0;  // slots of the open transaction behind them
  int32_t piece = 0;    // the last of those, which append writes
  // The shared last page that the open transaction replaced by a copy: commit lets go of it, abort
  // puts it back. The transaction holds its reference.
  PageId replaced = kNoPage;

  // Memory of the list besides its pages; part of the committed bytes. A list has a ListView too.
  uint64_t overhead() const {
    return sizeof(List) + sizeof(ListView) + pages.capacity() * sizeof(PageId) + side.bytes();
  }
};

// New, larger memory of a list, made before anything changes and swapped in when all is there.
struct ListGrowth {
  bool needed = false;
  std::vector<PageId> pages;
  SideArrays side;
};

}  // namespace heed::kv
