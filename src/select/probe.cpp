#include "select/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "attention/visible.h"
#include "attention/workspace.h"
#include "select/slab.h"

namespace heed::select {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
// Slots of a unit: all rows of a group against these.
constexpr int kUnitSlots = kSplitPages * kPageTokens;

int units_of(int64_t slots) { return static_cast<int>((slots + kUnitSlots - 1) / kUnitSlots); }

}  // namespace

struct Probe::Thread {
  float* p = nullptr;        // [kProbeTile][64]
  float* m = nullptr;        // [group][rows]
  float* l = nullptr;        // [group][rows][kLaneFloats]
  uint64_t* mask = nullptr;  // [kProbeTile]
  int32_t* shift = nullptr;  // [kProbeTile]
  float* bias = nullptr;     // [64]
};

Probe::Shared Probe::cut_shared(void* memory, size_t* bytes, const Keys& keys, int rows,
                                int64_t slots, bool diagonals) {
  const int64_t heads = keys.heads.n_q, groups = keys.heads.n_kv, splits = units_of(slots);
  Slab slab(memory);
  Shared s;
  s.q = slab.take<uint8_t>(heads * rows * static_cast<int64_t>(k_ops(keys).q_bytes(keys.dk)));
  s.first = slab.take<int32_t>(groups * rows);
  s.end = slab.take<int32_t>(groups * rows);
  s.last_end = slab.take<int32_t>(groups);
  s.part_m = slab.take<float>(heads * splits * rows);
  s.part_l = slab.take<float>(heads * splits * rows);
  s.m = slab.take<float>(heads * rows);
  s.weight = slab.take<float>(heads * rows);
  if (diagonals) s.diagonals = slab.take<float>(heads * splits * (kUnitSlots + rows - 1));
  if (bytes != nullptr) *bytes = slab.bytes();
  return s;
}

Probe::Thread Probe::cut_thread(void* memory, size_t* bytes, const Keys& keys, int rows) {
  const int64_t stacked = int64_t{largest_group(keys.heads)} * rows;
  Slab slab(memory);
  Thread t;
  t.p = slab.take<float>(kProbeTile * kPageTokens);
  t.m = slab.take<float>(stacked);
  t.l = slab.take<float>(stacked * kernels::kLaneFloats);
  t.mask = slab.take<uint64_t>(kProbeTile);
  t.shift = slab.take<int32_t>(kProbeTile);
  t.bias = slab.take<float>(kPageTokens);
  if (bytes != nullptr) *bytes = slab.bytes();
  return t;
}

size_t Probe::shared_bytes(const Keys& keys, const SelectBound& bound, bool diagonals) {
  size_t bytes = 0;
  cut_shared(nullptr, &bytes, keys, bound.rows, bound.slots, diagonals);
  return bytes;
}

size_t Probe::thread_bytes(const Keys& keys, const SelectBound& bound) {
  size_t bytes = 0;
  cut_thread(nullptr, &bytes, keys, bound.rows);
  return bytes;
}

Probe::Probe(const Keys& keys, View<const float, 3> q, int64_t pos0, const ProbeOutputs& out,
             void* shared)
    : keys_(keys),
      q_(q),
      pos0_(pos0),
      out_(out),
      kernels_(kernels::table(keys.isa)),
      ops_(k_ops(keys)),
      rows_(static_cast<int>(q.shape[0])),
      splits_(units_of(longest_list(keys))),
      q_bytes_(ops_.q_bytes(keys.dk)),
      shared_(
          cut_shared(shared, nullptr, keys, rows_, longest_list(keys), out.diagonals != nullptr)) {}

int64_t Probe::units(int phase) const {
  const int heads = keys_.heads.n_q;
  switch (phase) {
    case 0: return heads + keys_.heads.n_kv;
    case 2: return heads;
    case 4: return out_.diagonals != nullptr ? heads : 0;
    default: return int64_t{keys_.heads.n_kv} * splits_;
  }
}

void Probe::run(int phase, int64_t unit, void* thread) const {
  const int at = static_cast<int>(unit), heads = keys_.heads.n_q;
  switch (phase) {
    case 0: return at < heads ? pack(at) : find_limits(at - heads);
    case 2: return merge_statistics(at);
    case 4: return finish_diagonals(at);
    default: break;
  }
  const Thread t = cut_thread(thread, nullptr, keys_, rows_);
  const int g = at / splits_, split = at % splits_;
  if (phase == 1) return gather_statistics(g, split, t);
  reduce(g, split, t);
}

void Probe::pack(int h) const {
  const auto factor = static_cast<float>(query_factor(keys_, 1.0));
  for (int i = 0; i < rows_; ++i) {
    ops_.pack_q(shared_.q + (static_cast<size_t>(h) * rows_ + i) * q_bytes_, &q_(i, h, 0), factor,
                keys_.dk);
  }
}

void Probe::find_limits(int g) const {
  shared_.last_end[g] = 0;
  for (int i = 0; i < rows_; ++i) {
    const Visible v = visible_slots(keys_.mask, keys_.window, keys_.lists[g], pos0_ + i);
    shared_.first[g * rows_ + i] = v.first;
    shared_.end[g * rows_ + i] = v.end;
    shared_.last_end[g] = std::max(shared_.last_end[g], v.end);
  }
}

template <class Use>
void Probe::for_tiles(int g, int split, const Thread& t, Use use) const {
  const ListView& list = keys_.lists[g];
  const int32_t end = std::min(split * kSplitPages + kSplitPages,
                               static_cast<int32_t>(pages_for(shared_.last_end[g])));
  kernels::ScoreExtras extras = score_extras(keys_);
  kernels::PageCall call;
  call.k_format = static_cast<int>(keys_.format);
  call.dk = keys_.dk;
  call.extras = extras.cap != 0 || list.bias != nullptr ? &extras : nullptr;
  call.p = t.p;
  for (int32_t page = split * kSplitPages; page < end; ++page) {
    const int64_t slot0 = int64_t{page} * kPageTokens;
    if (list.bias != nullptr) {
      page_bias(list, slot0, t.bias);
      extras.bias = t.bias;
    }
    call.k = keys_.store->k_page(list.pages[page]);
    call.next_k = page + 1 < end ? keys_.store->k_page(list.pages[page + 1]) : nullptr;
    for (int row = 0; row < rows_; row += kProbeTile) {
      call.rows = std::min(kProbeTile, rows_ - row);
      const int32_t* first = shared_.first + g * rows_ + row;
      const Seen seen = mask_columns(first, shared_.end + g * rows_ + row, call.rows, slot0,
                                     live_slots(list, page), t.mask);
      if (seen == Seen::kNothing) continue;
      call.mask = seen == Seen::kAll ? nullptr : t.mask;
      for (int h = 0, i = 0; h < keys_.heads.n_q; ++h) {
        if (keys_.heads.kv_of(h) != g) continue;
        call.q = shared_.q + (static_cast<size_t>(h) * rows_ + row) * q_bytes_;
        use(call, h, i++, row, page);
      }
    }
  }
}

void Probe::gather_statistics(int g, int split, const Thread& t) const {
  const int64_t stacked = int64_t{group_size(keys_.heads, g)} * rows_;
  std::fill_n(t.m, stacked, kMinusInf);
  std::fill_n(t.l, stacked * kernels::kLaneFloats, 0.0f);
  for_tiles(g, split, t, [&](kernels::PageCall& call, int, int i, int row, int) {
    const int64_t at = int64_t{i} * rows_ + row;
    call.m = t.m + at;
    call.l = t.l + at * kernels::kLaneFloats;
    kernels_.weigh_page(call);
  });
  for (int h = 0, i = 0; h < keys_.heads.n_q; ++h) {
    if (keys_.heads.kv_of(h) != g) continue;
    const int64_t to = (int64_t{h} * splits_ + split) * rows_, from = int64_t{i++} * rows_;
    for (int r = 0; r < rows_; ++r) {
      shared_.part_m[to + r] = t.m[from + r];
      shared_.part_l[to + r] = sum_lanes(t.l + (from + r) * kernels::kLaneFloats);
    }
  }
}

void Probe::merge_statistics(int h) const {
  for (int r = 0; r < rows_; ++r) {
    const auto part = [&](int split) { return (int64_t{h} * splits_ + split) * rows_ + r; };
    float m = kMinusInf;
    for (int s = 0; s < splits_; ++s) m = std::max(m, shared_.part_m[part(s)]);
    double l = 0;
    for (int s = 0; s < splits_; ++s) {
      const float sum = shared_.part_l[part(s)];
      // A sum of NaN scores stands beside a maximum of -inf and stays.
      const bool counts = shared_.part_m[part(s)] != kMinusInf;
      l += counts ? sum * std::exp2(double{shared_.part_m[part(s)]} - m) : sum;
    }
    const int64_t at = int64_t{h} * rows_ + r;
    shared_.m[at] = m;
    shared_.weight[at] = l == 0 ? 0.0f : static_cast<float>(1 / l);
    if (out_.lse != nullptr) {
      out_.lse[at] = l == 0 ? kMinusInf : static_cast<float>(m * std::numbers::ln2 + std::log(l));
    }
  }
}

void Probe::clear_outputs(int g, int split) const {
  const int64_t slot0 = int64_t{split} * kUnitSlots;
  const int64_t n = std::min<int64_t>(kUnitSlots, keys_.lists[g].len - slot0);
  if (n <= 0) return;
  for (int h = 0; h < keys_.heads.n_q; ++h) {
    if (keys_.heads.kv_of(h) != g) continue;
    if (out_.columns != nullptr) std::fill_n(out_.columns + h * out_.stride + slot0, n, 0.0f);
    if (out_.page_max != nullptr) {
      std::fill_n(out_.page_max + h * out_.page_stride + split * kSplitPages, pages_for(n), 0.0f);
    }
    for (int r = 0; out_.map != nullptr && r < rows_; ++r) {
      std::fill_n(out_.map + (int64_t{h} * rows_ + r) * out_.stride + slot0, n, 0.0f);
    }
    if (out_.diagonals != nullptr) {
      const int64_t span = kUnitSlots + rows_ - 1;
      std::fill_n(shared_.diagonals + (int64_t{h} * splits_ + split) * span, span, 0.0f);
    }
  }
}

void Probe::reduce(int g, int split, const Thread& t) const {
  clear_outputs(g, split);
  std::fill_n(t.l, std::min(rows_, kProbeTile) * kernels::kLaneFloats, 0.0f);
  for_tiles(g, split, t, [&](kernels::PageCall& call, int h, int, int row, int page) {
    // The final maxima: nothing rises above them by more than the headroom, but they are shared.
    std::copy_n(shared_.m + int64_t{h} * rows_ + row, call.rows, t.m);
    call.m = t.m;
    call.l = t.l;
    kernels_.weigh_page(call);
    reduce_tile(call, h, row, page, split, t);
  });
}

void Probe::reduce_tile(const kernels::PageCall& call, int h, int row, int page, int split,
                        const Thread& t) const {
  const int g = keys_.heads.kv_of(h);
  const int64_t slot0 = int64_t{page} * kPageTokens;
  const auto n = std::min<int64_t>(kPageTokens, keys_.lists[g].len - slot0);
  const kernels::ReduceCall tile{call.rows, t.p, shared_.weight + int64_t{h} * rows_ + row,
                                 call.mask, t.shift};
  float page_of[kPageTokens] = {};
  if (out_.columns != nullptr) {
    float* columns = out_.columns + h * out_.stride + slot0;
    std::copy_n(columns, n, page_of);
    kernels_.add_columns(tile, page_of);
    std::copy_n(page_of, n, columns);
  }
  if (out_.page_max != nullptr) {
    std::fill_n(page_of, kPageTokens, 0.0f);
    kernels_.max_columns(tile, page_of);
    float& most = out_.page_max[h * out_.page_stride + page];
    for (int64_t i = 0; i < n; ++i) most = std::max(most, page_of[i]);
  }
  if (out_.diagonals != nullptr) {
    // Rows follow each other by one slot at most: the shift stays below their number.
    for (int r = 0; r < call.rows; ++r) {
      t.shift[r] = std::min(shared_.last_end[g] - shared_.end[g * rows_ + row + r], rows_ - 1);
    }
    const int64_t span = kUnitSlots + rows_ - 1;
    kernels_.add_diagonals(tile, shared_.diagonals + (int64_t{h} * splits_ + split) * span + slot0 -
                                     int64_t{split} * kUnitSlots);
  }
  for (int r = 0; out_.map != nullptr && r < call.rows; ++r) {
    if (call.mask != nullptr && call.mask[r] == 0) continue;
    float* to = out_.map + (int64_t{h} * rows_ + row + r) * out_.stride + slot0;
    for (int64_t i = 0; i < n; ++i) to[i] = tile.weight[r] * t.p[r * kPageTokens + i];
  }
}

// Where slot + shift is x, the distance is last_end - 1 - x; up to `reach` units hold a share of x.
void Probe::finish_diagonals(int h) const {
  const int g = keys_.heads.kv_of(h);
  const int64_t span = kUnitSlots + rows_ - 1, last = shared_.last_end[g] - 1;
  const int filled = units_of(keys_.lists[g].len);
  float* out = out_.diagonals + h * out_.stride;
  for (int64_t s = 0; s < keys_.lists[g].len; ++s) {
    const int64_t x = last - s;
    out[s] = 0;
    if (x < 0) continue;
    const int64_t reach = (x - span) / kUnitSlots;  // the first unit that still covers x, less one
    for (int64_t unit = std::max<int64_t>(0, reach); unit < filled; ++unit) {
      const int64_t at = x - unit * kUnitSlots;
      if (at < 0) break;
      if (at < span) out[s] += shared_.diagonals[(int64_t{h} * splits_ + unit) * span + at];
    }
  }
}

int64_t block_sums(const float* x, int64_t n, int64_t first, int64_t block, float* sums) {
  int64_t blocks = 0;
  for (int64_t begin = first; begin < n; begin += block) {
    float sum = 0;
    for (int64_t i = std::max<int64_t>(begin, 0); i < std::min(begin + block, n); ++i) sum += x[i];
    sums[blocks++] = sum;
  }
  return blocks;
}

}  // namespace heed::select
