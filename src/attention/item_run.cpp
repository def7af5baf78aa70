#include "attention/item_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention/rotation.h"
#include "attention/visible.h"

namespace heed {
namespace {

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;
constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

// Rows of queries and outputs lie apart (all heads of a token follow each other), so the hardware
// does not foresee the next one: each is asked for this many rows before its turn.
constexpr int kRowsAhead = 8;
constexpr int kLineFloats = 16;

void prefetch_read(const float* row, int n) {
  for (int i = 0; i < n; i += kLineFloats) __builtin_prefetch(row + i, 0);
}
void prefetch_write(float* row, int n) {
  for (int i = 0; i < n; i += kLineFloats) __builtin_prefetch(row + i, 1);
}

// A NaN score leaves the maximum at -inf but not the sum at 0.
bool saw_nothing(float m, const float* l) { return m == kMinusInf && sum_lanes(l) == 0.0f; }

}  // namespace

ItemRun::ItemRun(const Plan& plan, const Call& call, Isa isa, Scratch& scratch)
    : plan_(plan),
      call_(call),
      scratch_(scratch),
      kernels_(kernels::table(isa)),
      k_ops_(kernels::format_ops(isa, call.store->desc().layers[call.layer].k)),
      v_ops_(kernels::format_ops(isa, call.store->desc().layers[call.layer].v)),
      v_aliases_k_(call.store->desc().layers[call.layer].v_aliases_k) {
  page_.k_format = static_cast<int>(k_ops_.format);
  page_.v_format = static_cast<int>(v_ops_.format);
  page_.dk = call.dk;
  page_.dv = call.dv;
  page_.q = scratch.q;
  page_.p = scratch.p;
}

void ItemRun::begin(const Item& item) {
  item_ = &item;
  seq_ = &call_.seqs[item.seq];
  list_ = &seq_->lists[item.kv_head];
  n_heads_ = 0;
  int bit = -item.first_head;
  for (int h = 0; h < call_.heads.n_q && bit < kItemHeads; ++h) {
    if (call_.heads.kv_of(h) != item.kv_head) continue;
    if (bit >= 0 && ((item.head_mask >> bit) & 1)) heads_[n_heads_++] = static_cast<uint16_t>(h);
    ++bit;
  }
  rows_ = item.rows * n_heads_;
  latest_first_ = 0;
  earliest_end_ = list_->len;
  for (int t = 0; t < item.rows; ++t) {
    const Visible v = visible_slots(call_, *list_, query_position(*seq_, item.row + t));
    latest_first_ = std::max(latest_first_, v.first);
    earliest_end_ = std::min(earliest_end_, v.end);
    std::fill_n(scratch_.first + t * n_heads_, n_heads_, v.first);
    std::fill_n(scratch_.end + t * n_heads_, n_heads_, v.end);
  }
  packed_rot_ = -1;
  general_ = call_.softcap > 0 || call_.alibi != nullptr || list_->bias != nullptr;
  page_.rows = rows_;
  page_.extras = general_ ? &extras_ : nullptr;
}

const float* ItemRun::query_row(int i) const {
  return &call_.q(seq_->first + item_->row + i / n_heads_, heads_[i % n_heads_], 0);
}

float* ItemRun::out_row(int tag, int i) const {
  const int t = seq_->first + item_->row + i / n_heads_, h = heads_[i % n_heads_];
  return call_.tags > 1 ? &call_.part_out(tag, t, h, 0) : &call_.out(t, h, 0);
}

// The query carries everything that multiplies the whole row: rotation, scale, log2(e) or 1 / cap.
void ItemRun::pack_queries(int rot) {
  packed_rot_ = rot;
  const double factor =
      call_.softcap > 0 ? call_.scale / static_cast<double>(call_.softcap) : call_.scale * kLog2E;
  const Rotary& rotary = call_.rotary;
  const bool turns = rotary.layout != RotaryLayout::kNone && rotary.n_rot > 0;
  const size_t row_bytes = k_ops_.q_bytes(call_.dk);
  for (int i = 0; i < rows_; ++i) {
    if (i + kRowsAhead < rows_) prefetch_read(query_row(i + kRowsAhead), call_.dk);
    const int t = seq_->first + item_->row + i / n_heads_;
    const float* q = query_row(i);
    if (turns) {
      const int64_t at = static_cast<int64_t>(t) * (rotary.n_rot / 2);
      rotate_row(kernels_, rotary, rotary.cos + at, rotary.sin + at, q, scratch_.turned, call_.dk);
      q = scratch_.turned;
      if (rot > 0) {
        rotate_row(kernels_, rotary, &call_.rot_deltas_cos(rot, 0), &call_.rot_deltas_sin(rot, 0),
                   q, scratch_.turned, call_.dk);
      }
    }
    k_ops_.pack_q(static_cast<uint8_t*>(scratch_.q) + static_cast<size_t>(i) * row_bytes, q,
                  static_cast<float>(factor), call_.dk);
  }
}

void ItemRun::attend(const Segment& segment, State state) {
  clear(state, rows_, call_.dv);
  page_.m = state.m;
  page_.l = state.l;
  page_.o = state.o;
  for (int32_t r = segment.range; r <= segment.range_end; ++r) {
    const Range& range = plan_.ranges[r];
    const int32_t begin = r == segment.range ? segment.offset : 0;
    const int32_t end = r == segment.range_end ? segment.offset_end : range.len;
    if (begin >= end) continue;
    if (packed_rot_ != range.rot) pack_queries(range.rot);
    if (range.source == 0) {
      attend_list_pages(range, begin, end);
    } else {
      attend_gathered(range, begin, end);
    }
  }
}

void ItemRun::attend_list_pages(const Range& range, int32_t begin, int32_t end) {
  const Store& store = *call_.store;
  for (int32_t i = begin; i < end; ++i) {
    const int32_t page = range.begin + i;
    const int32_t slot0 = page * kPageTokens;
    const uint64_t live = list_->live != nullptr ? list_->live[page] : ~uint64_t{0};
    const bool full = sees_whole(slot0) && live == ~uint64_t{0} && range.tile_mask < 0;
    if (!full && !mask_rows(range, i, slot0, live)) continue;
    page_.mask = full ? nullptr : scratch_.mask;
    if (general_) set_extras(nullptr, slot0, std::min(kPageTokens, list_->len - slot0));
    // Also across the end of a segment: the page after it is this thread's next one, or another's.
    const bool more = i + 1 < range.len;
    const PageId next = more ? list_->pages[page + 1] : kNoPage;
    page_.next_k = more ? store.k_page(next) : nullptr;
    page_.next_v = more && !v_aliases_k_ ? store.v_page(next) : nullptr;
    const void* k = store.k_page(list_->pages[page]);
    if (v_aliases_k_) v_ops_.v_from_k(scratch_.v, k, call_.dv);
    read_page(k, v_aliases_k_ ? scratch_.v : store.v_page(list_->pages[page]));
  }
}

void ItemRun::attend_gathered(const Range& range, int32_t begin, int32_t end) {
  const Store& store = *call_.store;
  const void* k_from[kPageTokens];
  const void* v_from[kPageTokens];
  int32_t at[kPageTokens];
  for (int64_t i = begin; i < end; i += kPageTokens) {
    const int n = static_cast<int>(std::min<int64_t>(kPageTokens, end - i));
    const int32_t* slots = plan_.gather.data() + range.begin + i;
    if (!mask_gathered(range, static_cast<int>(i / kPageTokens), slots, n)) continue;
    for (int j = 0; j < n; ++j) {
      const PageId page = list_->pages[slots[j] / kPageTokens];
      k_from[j] = store.k_page(page);
      v_from[j] = store.v_page(page);
      at[j] = slots[j] % kPageTokens;
    }
    k_ops_.gather_k(scratch_.k, n, k_from, at, call_.dk);
    if (v_aliases_k_) {
      v_ops_.v_from_k(scratch_.v, scratch_.k, call_.dv);
    } else {
      v_ops_.gather_v(scratch_.v, n, v_from, at, call_.dv);
    }
    page_.mask = scratch_.mask;
    page_.next_k = page_.next_v = nullptr;
    if (general_) set_extras(slots, 0, n);
    read_page(scratch_.k, scratch_.v);
  }
}

uint64_t ItemRun::tile_mask(const Range& range, int page, int token) const {
  if (range.tile_mask < 0) return ~uint64_t{0};
  const int64_t pages = range.source == 0 ? range.len : pages_for(range.len);
  const int64_t row = range.one_mask ? 0 : token * pages;
  return plan_.tile_masks[static_cast<size_t>(range.tile_mask + row + page)];
}

bool ItemRun::mask_rows(const Range& range, int page, int32_t slot0, uint64_t live) {
  if ((range.tile_mask < 0 || range.one_mask) && sees_whole(slot0)) {
    const uint64_t mask = live & tile_mask(range, page, 0);
    std::fill_n(scratch_.mask, rows_, mask);
    return mask != 0;
  }
  uint64_t any = 0;
  for (int t = 0; t < item_->rows; ++t) {
    const int row = t * n_heads_;
    const uint64_t mask =
        bit_range(int64_t{scratch_.first[row]} - slot0, int64_t{scratch_.end[row]} - slot0) & live &
        tile_mask(range, page, t);
    std::fill_n(scratch_.mask + row, n_heads_, mask);
    any |= mask;
  }
  return any != 0;
}

bool ItemRun::mask_gathered(const Range& range, int page, const int32_t* slots, int n) {
  uint64_t live = bit_range(0, n), any = 0;
  for (int j = 0; list_->live != nullptr && j < n; ++j) {
    if (!((list_->live[slots[j] / kPageTokens] >> (slots[j] % kPageTokens)) & 1)) {
      live &= ~(uint64_t{1} << j);
    }
  }
  for (int t = 0; t < item_->rows; ++t) {
    const int row = t * n_heads_;
    const auto first = std::lower_bound(slots, slots + n, scratch_.first[row]) - slots;
    const auto end = std::lower_bound(slots, slots + n, scratch_.end[row]) - slots;
    const uint64_t mask = bit_range(first, end) & live & tile_mask(range, page, t);
    std::fill_n(scratch_.mask + row, n_heads_, mask);
    any |= mask;
  }
  return any != 0;
}

// Positions count from the first slot, so that they are exact in fp32 wherever the page lies.
void ItemRun::set_extras(const int32_t* slots, int32_t slot0, int n) {
  const auto slot = [&](int j) { return slots != nullptr ? slots[j] : slot0 + j; };
  extras_ = {};
  if (call_.softcap > 0) extras_.cap = static_cast<float>(call_.softcap * kLog2E);
  if (list_->bias != nullptr) {
    std::fill_n(scratch_.bias, kPageTokens, 0.0f);
    for (int j = 0; j < n; ++j) {
      scratch_.bias[j] = static_cast<float>(list_->bias[slot(j)] * kLog2E);
    }
    extras_.bias = scratch_.bias;
  }
  if (call_.alibi != nullptr) {
    const int64_t origin = slot_position(*list_, slot(0));
    std::fill_n(scratch_.key, kPageTokens, 0.0f);
    for (int j = 0; j < n; ++j) {
      scratch_.key[j] = static_cast<float>(slot_position(*list_, slot(j)) - origin);
    }
    for (int i = 0; i < rows_; ++i) {
      const int64_t position = query_position(*seq_, item_->row + i / n_heads_);
      scratch_.distance[i] = static_cast<float>(position - origin);
      scratch_.slope[i] = static_cast<float>(call_.alibi[heads_[i % n_heads_]] * kLog2E);
    }
    extras_.key = scratch_.key;
    extras_.distance = scratch_.distance;
    extras_.slope = scratch_.slope;
  }
}

void ItemRun::read_page(const void* k, const void* v) {
  page_.k = k;
  page_.v = v;
  kernels_.attend_page(page_);
  scratch_.pages += 1;
  uint64_t tiles = static_cast<uint64_t>(rows_);
  if (page_.mask != nullptr) {
    tiles = static_cast<uint64_t>(rows_ - std::count(page_.mask, page_.mask + rows_, 0));
  }
  scratch_.tiles += tiles;
}

void ItemRun::merge(State acc, int a, State part, int p) const {
  const int width = kernels::row_floats(call_.dv);
  float* acc_l = acc.l + a * kernels::kLaneFloats;
  float* acc_o = acc.o + static_cast<int64_t>(a) * width;
  const float* part_l = part.l + p * kernels::kLaneFloats;
  const float* part_o = part.o + static_cast<int64_t>(p) * width;
  const float acc_m = acc.m[a], part_m = part.m[p];
  if (saw_nothing(part_m, part_l)) return;
  if (saw_nothing(acc_m, acc_l)) {
    acc.m[a] = part_m;
    std::copy_n(part_l, kernels::kLaneFloats, acc_l);
    std::copy_n(part_o, width, acc_o);
    return;
  }
  const float m = std::max(acc_m, part_m);
  const float keep = std::exp2(acc_m - m), add = std::exp2(part_m - m);
  acc.m[a] = m;
  kernels_.merge_rows(acc_l, part_l, keep, add, kernels::kLaneFloats);
  kernels_.merge_rows(acc_o, part_o, keep, add, width);
}

void ItemRun::finish_rows(int tag, State state) const {
  for (int i = 0; i < std::min(rows_, kRowsAhead); ++i) prefetch_write(out_row(tag, i), call_.dv);
  for (int i = 0; i < rows_; ++i) {
    if (i + kRowsAhead < rows_) prefetch_write(out_row(tag, i + kRowsAhead), call_.dv);
    finish(i, tag, state, i);
  }
}

void ItemRun::finish(int row, int tag, State state, int at) const {
  const int t = seq_->first + item_->row + row / n_heads_;
  const int h = heads_[row % n_heads_];
  float* out = out_row(tag, row);
  double m = state.m[at];
  double l = sum_lanes(state.l + at * kernels::kLaneFloats);
  double keep = 1.0;  // 2^(state's maximum - the maximum with the sink)
  if (call_.sinks != nullptr && tag == 0) {
    const double sink = call_.sinks[h] * kLog2E;
    const double top = std::max(m, sink);
    keep = m == kMinusInf ? 0.0 : std::exp2(m - top);
    l = l * keep + (sink == kMinusInf ? 0.0 : std::exp2(sink - top));
    m = top;
  }
  const float* o = state.o + static_cast<int64_t>(at) * kernels::row_floats(call_.dv);
  const bool empty = l == 0.0;  // false for NaN
  kernels_.scale_row(out, o, empty ? 0.0f : static_cast<float>(keep / l), call_.dv);
  float* lse = call_.tags > 1 ? (call_.part_lse.data ? &call_.part_lse(tag, t, h) : nullptr)
                              : (call_.lse.data ? &call_.lse(t, h) : nullptr);
  if (lse != nullptr) *lse = empty ? kMinusInf : static_cast<float>((m + std::log2(l)) * kLn2);
}

}  // namespace heed
