// Everything that run relies on, checked in the order of Call and Plan.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

#include "attention/tiling.h"
#include "attention/visible.h"
#include "base/guard.h"
#include "base/text.h"
#include "heed/attention.h"

namespace heed {
namespace {

constexpr Code kBad = Code::kInvalidArgument;
constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();
// Positions are below 2^31; queries that precede every key may lie as far below 0. Sums and
// differences of two such numbers stay exact.
constexpr int64_t kFarthest = int64_t{1} << 31;

Status check_position(int64_t pos0, size_t seq, const char* what) {
  if (pos0 >= -kFarthest && pos0 <= kFarthest) return {};
  return error(Code::kOutOfRange, "attention: sequence ", seq, ": first position ", pos0, " of ",
               what, " is not within 2^31 of 0");
}

Status check_heads(const Call& call, const LayerShape& layer) {
  const HeadMap& heads = call.heads;
  if (heads.n_kv != layer.kv_heads) {
    return error(kBad, "attention: ", heads.n_kv, " KV heads, the store's layer ", call.layer,
                 " has ", layer.kv_heads);
  }
  if (heads.n_q < 1 || heads.n_q > 65535) {
    return error(Code::kOutOfRange, "attention: ", heads.n_q, " query heads; use 1 to 65,535");
  }
  if (heads.kv_of_q == nullptr && heads.n_q % heads.n_kv != 0) {
    return error(kBad, "attention: ", heads.n_q, " query heads do not divide over ", heads.n_kv,
                 " KV heads; give a head map");
  }
  for (int h = 0; heads.kv_of_q != nullptr && h < heads.n_q; ++h) {
    if (heads.kv_of_q[h] >= heads.n_kv) {
      return error(Code::kOutOfRange, "attention: head map sends query head ", h, " to KV head ",
                   heads.kv_of_q[h], " of ", heads.n_kv);
    }
  }
  return {};
}

Status check_rotary(const Call& call) {
  const Rotary& r = call.rotary;
  if (r.layout == RotaryLayout::kNone) return {};
  if (r.n_rot < 2 || r.n_rot % 2 != 0 || r.n_rot > call.dk) {
    return error(Code::kOutOfRange, "attention: ", r.n_rot, " rotated dims of ", call.dk,
                 "; use an even number from 2 to the key size");
  }
  if (r.first < 0 || r.first > call.dk - r.n_rot) {
    return error(Code::kOutOfRange, "attention: ", r.n_rot, " rotated dims from dim ", r.first,
                 " of ", call.dk, "; they must lie inside the key");
  }
  if (r.cos == nullptr || r.sin == nullptr) {
    return error(kBad, "attention: rotation without its cos or sin table");
  }
  for (const View<const float, 2>& v : {call.rot_deltas_cos, call.rot_deltas_sin}) {
    if (v.data != nullptr && (v.shape[1] != r.n_rot / 2 || v.stride[1] != 1 ||
                              v.shape[0] != call.rot_deltas_cos.shape[0])) {
      return error(kBad, "attention: rotation deltas [", v.shape[0], ", ", v.shape[1],
                   "] are not [", call.rot_deltas_cos.shape[0], ", ", r.n_rot / 2,
                   "] with last stride 1");
    }
  }
  return {};
}

template <class T, int R>
Status check_view(const char* name, const View<T, R>& view, const std::array<int64_t, R>& shape,
                  bool rows) {
  if (view.data == nullptr) return error(kBad, "attention: ", name, " is missing");
  for (int i = 0; i < R; ++i) {
    if (view.shape[i] != shape[i]) {
      return error(kBad, "attention: ", name, " has size ", view.shape[i], " in dimension ", i,
                   ", not ", shape[i]);
    }
  }
  if (rows && view.stride[R - 1] != 1) {
    return error(kBad, "attention: rows of ", name, " have stride ", view.stride[R - 1],
                 "; the last stride must be 1");
  }
  return {};
}

Status check_arrays(const Call& call) {
  const int64_t rows = call.q.shape[0], heads = call.heads.n_q, tags = call.tags;
  if (rows < 0 || rows > kMaxRows) {
    return error(Code::kOutOfRange, "attention: ", rows, " query rows; use 0 to ", kMaxRows);
  }
  HEED_TRY((check_view<const float, 3>("q", call.q, {rows, heads, call.dk}, true)));
  if (tags < 1 || tags > 256) {
    return error(Code::kOutOfRange, "attention: ", tags, " tags; use 1 to 256");
  }
  if (tags == 1) {
    HEED_TRY((check_view<float, 3>("out", call.out, {rows, heads, call.dv}, true)));
    if (call.lse.data == nullptr) return {};
    return check_view<float, 2>("lse", call.lse, {rows, heads}, false);
  }
  HEED_TRY((check_view<float, 4>("part_out", call.part_out, {tags, rows, heads, call.dv}, true)));
  if (call.part_lse.data == nullptr) return {};
  return check_view<float, 3>("part_lse", call.part_lse, {tags, rows, heads}, false);
}

Status check_list(const Call& call, const ListView& list, size_t seq, int kv_head) {
  if (list.len < 0 || (list.len > 0 && list.pages == nullptr)) {
    return error(kBad, "attention: sequence ", seq, ", KV head ", kv_head, ": ", list.len,
                 " slots without pages");
  }
  HEED_TRY(check_position(list.pos0, seq, "a list"));
  for (int64_t p = 0; p < pages_for(list.len); ++p) {
    if (!call.store->holds(list.pages[p], call.layer)) {
      return error(kBad, "attention: sequence ", seq, ", KV head ", kv_head, ": page ", p,
                   " of the list has handle ", list.pages[p],
                   ", which is no page of the store's layer ", call.layer);
    }
  }
  for (int32_t i = 1; list.pos != nullptr && i < list.len; ++i) {
    if (list.pos[i] < list.pos[i - 1]) {
      return error(kBad, "attention: sequence ", seq, ", KV head ", kv_head, ": position ",
                   list.pos[i], " of slot ", i, " follows ", list.pos[i - 1],
                   "; positions must ascend");
    }
  }
  return {};
}

Status check_sequences(const Call& call) {
  for (size_t s = 0; s < call.seqs.size(); ++s) {
    const SeqRows& seq = call.seqs[s];
    if (seq.first < 0 || seq.rows < 0 || int64_t{seq.first} + seq.rows > call.q.shape[0]) {
      return error(Code::kOutOfRange, "attention: sequence ", s, " has rows [", seq.first, ", ",
                   int64_t{seq.first} + seq.rows, ") of ", call.q.shape[0]);
    }
    HEED_TRY(check_position(seq.pos0, s, "its rows"));
    if (seq.lists == nullptr) return error(kBad, "attention: sequence ", s, " has no lists");
    for (int g = 0; g < call.heads.n_kv; ++g) HEED_TRY(check_list(call, seq.lists[g], s, g));
  }
  return {};
}

Status check_call(const Call& call) {
  if (call.store == nullptr) return error(kBad, "attention: no store");
  const std::vector<LayerShape>& layers = call.store->desc().layers;
  if (call.layer < 0 || call.layer >= static_cast<int>(layers.size())) {
    return error(Code::kOutOfRange, "attention: layer ", call.layer, " of ", layers.size());
  }
  const LayerShape& layer = layers[static_cast<size_t>(call.layer)];
  if (call.dk != layer.dk || call.dv != layer.dv) {
    return error(kBad, "attention: head sizes ", call.dk, "/", call.dv, ", the store's layer ",
                 call.layer, " has ", layer.dk, "/", layer.dv);
  }
  HEED_TRY(check_heads(call, layer));
  if (!std::isfinite(call.scale) || !std::isfinite(call.softcap) || call.softcap < 0) {
    return error(Code::kOutOfRange, "attention: scale ", call.scale, ", soft cap ", call.softcap,
                 "; the scale must be finite, the cap finite and not negative (0: none)");
  }
  if (call.mask == MaskKind::kWindow && call.window < 1) {
    return error(Code::kOutOfRange, "attention: a window of ", call.window,
                 " keys; use at least 1, or the causal mask");
  }
  HEED_TRY(check_rotary(call));
  HEED_TRY(check_arrays(call));
  return check_sequences(call);
}

// --- plan ------------------------------------------------------------------------------------

Status check_item(const Call& call, const Plan& plan, const Item& item, size_t i) {
  if (item.seq < 0 || item.seq >= static_cast<int>(call.seqs.size())) {
    return error(Code::kOutOfRange, "item ", i, ": sequence ", item.seq, " of ", call.seqs.size());
  }
  if (item.kv_head < 0 || item.kv_head >= call.heads.n_kv) {
    return error(Code::kOutOfRange, "item ", i, ": KV head ", item.kv_head, " of ",
                 call.heads.n_kv);
  }
  const int group = group_size(call.heads, item.kv_head);
  const int64_t rest = int64_t{group} - item.first_head;
  if (item.first_head < 0 || rest < 1 || item.head_mask == 0 ||
      (rest < kItemHeads && item.head_mask >> rest != 0)) {
    return error(kBad, "item ", i, ": head mask ", item.head_mask, " from head ", item.first_head,
                 " for a group of ", group, " query heads");
  }
  const int32_t rows = call.seqs[static_cast<size_t>(item.seq)].rows;
  if (item.row < 0 || item.rows < 1 || int64_t{item.row} + item.rows > rows) {
    return error(Code::kOutOfRange, "item ", i, ": query rows [", item.row, ", ",
                 int64_t{item.row} + item.rows, ") of ", rows);
  }
  if (item.range < 0 || item.ranges < 0 ||
      int64_t{item.range} + item.ranges > static_cast<int64_t>(plan.ranges.size())) {
    return error(Code::kOutOfRange, "item ", i, ": ranges [", item.range, ", ",
                 int64_t{item.range} + item.ranges, ") of ", plan.ranges.size());
  }
  return {};
}

Status check_source(const Plan& plan, const Range& range, const ListView& list, size_t i) {
  const int64_t end = int64_t{range.begin} + range.len;
  const bool gathers = range.source == 1;
  const int64_t limit = gathers ? static_cast<int64_t>(plan.gather.size()) : pages_for(list.len);
  if (range.source > 1) {
    return error(Code::kUnsupported, "item ", i, ": source ", int{range.source},
                 "; 0 is the list, 1 the gather entries");
  }
  if (range.begin < 0 || range.len < 0 || end > limit) {
    return error(Code::kOutOfRange, "item ", i, ": ", gathers ? "gather entries [" : "pages [",
                 range.begin, ", ", end, ") of ", limit);
  }
  for (int64_t j = range.begin; gathers && j < end; ++j) {
    const int32_t slot = plan.gather[static_cast<size_t>(j)];
    if (slot < 0 || slot >= list.len) {
      return error(Code::kOutOfRange, "item ", i, ": gathered slot ", slot, " of ", list.len);
    }
    if (j > range.begin && slot <= plan.gather[static_cast<size_t>(j - 1)]) {
      return error(kBad, "item ", i, ": gathered slot ", slot, " follows ",
                   plan.gather[static_cast<size_t>(j - 1)], "; slots must ascend inside a range");
    }
  }
  return {};
}

Status check_range(const Call& call, const Plan& plan, const Item& item, const Range& range,
                   size_t i) {
  if (range.tag >= call.tags) {
    return error(Code::kOutOfRange, "item ", i, ": tag ", int{range.tag}, " of ", call.tags);
  }
  if (range.rot > 0) {
    if (call.rotary.layout == RotaryLayout::kNone || call.rot_deltas_cos.data == nullptr ||
        call.rot_deltas_sin.data == nullptr) {
      return error(kBad, "item ", i, ": rotation delta ", range.rot,
                   " without a rotation or its tables");
    }
    if (range.rot >= call.rot_deltas_cos.shape[0]) {
      return error(Code::kOutOfRange, "item ", i, ": rotation delta ", range.rot, " of ",
                   call.rot_deltas_cos.shape[0]);
    }
  }
  const ListView& list = call.seqs[static_cast<size_t>(item.seq)].lists[item.kv_head];
  HEED_TRY(check_source(plan, range, list, i));
  if (range.tile_mask < 0) return {};
  const int64_t pages = range.source == 0 ? range.len : pages_for(range.len);
  const int64_t end = range.tile_mask + (range.one_mask ? 1 : item.rows) * pages;
  if (end > static_cast<int64_t>(plan.tile_masks.size())) {
    return error(Code::kOutOfRange, "item ", i, ": tile masks [", range.tile_mask, ", ", end,
                 ") of ", plan.tile_masks.size());
  }
  return {};
}

// Two items that write one output row would race.
Status check_coverage(const Call& call, const Plan& plan) {
  std::vector<uint8_t> written(static_cast<size_t>(call.q.shape[0] * call.heads.n_q), 0);
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    int bit = -item.first_head;
    for (int h = 0; h < call.heads.n_q; ++h) {
      if (call.heads.kv_of(h) != item.kv_head) continue;
      const int at = bit++;
      if (at < 0 || at >= kItemHeads || !((item.head_mask >> at) & 1)) continue;
      for (int t = 0; t < item.rows; ++t) {
        const int64_t row = call.seqs[static_cast<size_t>(item.seq)].first + item.row + t;
        uint8_t& seen = written[static_cast<size_t>(row * call.heads.n_q + h)];
        if (seen != 0) {
          return error(kBad, "item ", i, ": row ", row, ", query head ", h,
                       " belongs to an item before it; use tags for several results of a row");
        }
        seen = 1;
      }
    }
  }
  return {};
}

}  // namespace

Status validate(const Plan& plan, const Call& call) {
  HEED_TRY(check_call(call));
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    HEED_TRY(check_item(call, plan, item, i));
    int tag = 0;
    for (int32_t r = item.range; r < item.range + item.ranges; ++r) {
      const Range& range = plan.ranges[static_cast<size_t>(r)];
      HEED_TRY(check_range(call, plan, item, range, i));
      if (range.tag < tag) {
        return error(kBad, "item ", i, ": tag ", int{range.tag}, " follows ", tag,
                     "; an item's ranges are sorted by tag");
      }
      tag = range.tag;
    }
  }
  try {
    return check_coverage(call, plan);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  return exhausted("attention: no memory to check the coverage of ", call.q.shape[0], " rows of ",
                   call.heads.n_q, " heads; use smaller chunks");
}

}  // namespace heed
