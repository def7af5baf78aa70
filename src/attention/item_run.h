// One item on one thread: its stacked query rows, and the pages of its segments read into a State.
#pragma once

#include <cstdint>

#include "attention/segments.h"
#include "attention/tiling.h"
#include "attention/workspace.h"
#include "heed/attention.h"
#include "kernels/kernels.h"

namespace heed {

class ItemRun {
 public:
  ItemRun(const Plan& plan, const Call& call, Isa isa, Scratch& scratch);

  // Chooses the item. Rows are stacked token-major: row i is query head i % heads of token i /
  // heads.
  void begin(const Item& item);
  int rows() const { return rows_; }

  // Clears `state` [rows] and reads the pages of `segment` into it.
  void attend(const Segment& segment, State state);

  // acc[a] += part[p]: the only merge there is. A part that saw nothing changes no bit, and a merge
  // into a state that saw nothing is a copy.
  void merge(State acc, int a, State part, int p) const;
  // Writes out and lse of stacked row `row` from state[at], sinks added.
  void finish(int row, int tag, State state, int at) const;
  // The same for all rows, row i from state[i].
  void finish_rows(int tag, State state) const;

 private:
  // Of stacked row i.
  const float* query_row(int i) const;
  float* out_row(int tag, int i) const;
  void pack_queries(int rot);
  void attend_list_pages(const Range& range, int32_t begin, int32_t end);
  void attend_gathered(const Range& range, int32_t begin, int32_t end);
  // Whether every row sees all slots of the page that begins at slot0.
  bool sees_whole(int32_t slot0) const {
    return latest_first_ <= slot0 && earliest_end_ >= int64_t{slot0} + kPageTokens;
  }
  // Fills masks for slots [slot0, slot0 + 64) and says whether any row reads one.
  bool mask_rows(const Range& range, int page, int32_t slot0, uint64_t live);
  bool mask_gathered(const Range& range, int page, const int32_t* slots, int n);
  uint64_t tile_mask(const Range& range, int page, int token) const;
  void set_extras(const int32_t* slots, int32_t slot0, int n);
  void read_page(const void* k, const void* v);

  const Plan& plan_;
  const Call& call_;
  Scratch& scratch_;
  const kernels::Table& kernels_;
  const kernels::FormatOps& k_ops_;
  const kernels::FormatOps& v_ops_;
  bool v_aliases_k_;

  const Item* item_ = nullptr;
  const SeqRows* seq_ = nullptr;
  const ListView* list_ = nullptr;
  uint16_t heads_[kItemHeads] = {};
  int n_heads_ = 0;
  int rows_ = 0;
  int packed_rot_ = -1;       // which rotation the packed queries carry
  int32_t latest_first_ = 0;  // slots [latest_first, earliest_end) are seen by every row
  int32_t earliest_end_ = 0;
  bool general_ = false;
  kernels::ScoreExtras extras_;
  kernels::PageCall page_;
};

}  // namespace heed
