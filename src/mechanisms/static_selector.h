// Selectors that look at positions alone: one phase, one item for each key set.
#pragma once

#include "attention/visible.h"
#include "mechanisms/prefill.h"
#include "select/layout.h"

namespace heed {

class StaticSelector : public PrefillSelector {
 public:
  bool group_shared() const override { return true; }
  Invariance invariance() const override { return Invariance::kExact; }
  bool takes_windows() const override { return true; }

  int64_t count(int, const SelectInput& in) const final {
    return int64_t{select::sets_of(in.heads, group_shared())} *
           static_cast<int64_t>(in.blocks.size());
  }
  bool run(int, int64_t item, const SelectInput& in, const SelectScratch&,
           select::KeySetTable& out) const final {
    const auto blocks = static_cast<int64_t>(in.blocks.size());
    const auto set = static_cast<int>(item / blocks), block = static_cast<int>(item % blocks);
    select::KeySetWriter keys = out.writer(set, block);
    return select(in, set, in.blocks[static_cast<size_t>(block)], keys);
  }

 protected:
  // The key set of one block; `keys` is empty.
  virtual bool select(const SelectInput& in, int set, const select::QueryBlock& block,
                      select::KeySetWriter& keys) const = 0;
};

// Before every key.
inline constexpr int64_t kFirstPosition = -(int64_t{1} << 32);

// Slots of the list of KV head `kv_head` at positions [first, end), added as one range unless there
// are none.
inline bool add_positions(const SelectInput& in, int kv_head, int64_t first, int64_t end,
                          select::KeySetWriter& keys) {
  const ListView& list = in.lists[kv_head];
  const int32_t begin = slots_up_to(list, first - 1), stop = slots_up_to(list, end - 1);
  return begin >= stop || keys.add({begin, stop - begin});
}

}  // namespace heed
