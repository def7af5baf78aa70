#include "select/antidiagonal.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention/visible.h"
#include "select/slab.h"

namespace heed::select {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
constexpr int kColumns = kPageTokens;  // groups of keys in a page of K'

int pages_of(int64_t slots, int stride) {
  const int64_t slots_of_page = int64_t{kColumns} * stride;
  return static_cast<int>((slots + slots_of_page - 1) / slots_of_page);
}

int columns_of(const AntidiagonalShape& shape) {
  return std::min(shape.block / shape.stride, kColumns);
}

}  // namespace

struct Antidiagonal::Thread {
  uint8_t* k = nullptr;      // a page of K'
  uint8_t* zero = nullptr;   // a page of keys that are zero
  float* p = nullptr;        // [kProbeTile][64]
  float* m = nullptr;        // [kProbeTile]
  float* l = nullptr;        // [kProbeTile][kLaneFloats]
  uint64_t* mask = nullptr;  // [kProbeTile]
  float* bias = nullptr;     // [64]
};

bool is_computable(const AntidiagonalShape& shape) {
  return shape.stride > 0 && shape.block >= shape.stride && shape.block % shape.stride == 0 &&
         std::has_single_bit(static_cast<unsigned>(shape.block / shape.stride));
}

Antidiagonal::Shared Antidiagonal::cut_shared(void* memory, size_t* bytes, const Keys& keys,
                                              const AntidiagonalShape& shape, int64_t groups,
                                              int64_t slots) {
  const int64_t heads = keys.heads.n_q, pages = pages_of(slots, shape.stride);
  Slab slab(memory);
  Shared s;
  s.q = slab.take<uint8_t>(heads * groups * shape.stride *
                           static_cast<int64_t>(k_ops(keys).q_bytes(keys.dk)));
  s.first = slab.take<int32_t>(keys.heads.n_kv * groups);
  s.end = slab.take<int32_t>(keys.heads.n_kv * groups);
  s.m = slab.take<float>(heads * groups * pages);
  s.sum = slab.take<float>(heads * groups * pages * (kColumns / columns_of(shape)));
  if (bytes != nullptr) *bytes = slab.bytes();
  return s;
}

Antidiagonal::Thread Antidiagonal::cut_thread(void* memory, size_t* bytes, const Keys& keys,
                                              const AntidiagonalShape& shape) {
  const auto page = static_cast<int64_t>(k_ops(keys).k_bytes(keys.dk));
  Slab slab(memory);
  Thread t;
  t.k = slab.take<uint8_t>(page * shape.stride);
  t.zero = slab.take<uint8_t>(page);
  t.p = slab.take<float>(kProbeTile * kColumns);
  t.m = slab.take<float>(kProbeTile);
  t.l = slab.take<float>(kProbeTile * kernels::kLaneFloats);
  t.mask = slab.take<uint64_t>(kProbeTile);
  t.bias = slab.take<float>(kColumns);
  if (bytes != nullptr) *bytes = slab.bytes();
  return t;
}

size_t Antidiagonal::shared_bytes(const Keys& keys, const AntidiagonalShape& shape,
                                  const SelectBound& bound) {
  size_t bytes = 0;
  // Rows that begin inside a group touch one more.
  cut_shared(nullptr, &bytes, keys, shape, int64_t{bound.rows} / shape.stride + 2, bound.slots);
  return bytes;
}

size_t Antidiagonal::thread_bytes(const Keys& keys, const AntidiagonalShape& shape) {
  size_t bytes = 0;
  cut_thread(nullptr, &bytes, keys, shape);
  return bytes;
}

Antidiagonal::Antidiagonal(const Keys& keys, const AntidiagonalShape& shape, View<const float, 3> q,
                           int64_t pos0, float* out, int64_t stride, void* shared)
    : keys_(keys),
      shape_(shape),
      q_(q),
      pos0_(pos0),
      out_(out),
      stride_(stride),
      kernels_(kernels::table(keys.isa)),
      ops_(k_ops(keys)),
      rows_(static_cast<int>(q.shape[0])),
      blocks_(query_blocks(pos0, rows_, shape.block)),
      groups_(query_blocks(pos0, rows_, shape.stride)),
      pages_(pages_of(longest_list(keys), shape.stride)),
      columns_(columns_of(shape)),
      parts_(kColumns / columns_),
      q_bytes_(ops_.q_bytes(keys.dk)),
      shared_(cut_shared(shared, nullptr, keys, shape, groups_.count, longest_list(keys))) {}

int64_t Antidiagonal::units(int phase) const {
  switch (phase) {
    case 0: return keys_.heads.n_q + keys_.heads.n_kv;
    case 1: return int64_t{keys_.heads.n_kv} * pages_;
    default: return int64_t{keys_.heads.n_q} * blocks_.count;
  }
}

void Antidiagonal::run(int phase, int64_t unit, void* thread) const {
  const int at = static_cast<int>(unit);
  if (phase == 0) return at < keys_.heads.n_q ? pack(at) : find_limits(at - keys_.heads.n_q);
  if (phase == 2) return sum_blocks(at / blocks_.count, at % blocks_.count);
  score(at / pages_, at % pages_, cut_thread(thread, nullptr, keys_, shape_));
}

void Antidiagonal::pack(int h) const {
  const auto factor =
      static_cast<float>(query_factor(keys_, static_cast<double>(shape_.stride) * shape_.norm));
  for (int a = 0; a < groups_.count; ++a) {
    for (int u = 0; u < shape_.stride; ++u) {
      const int64_t row = (groups_.first + a) * shape_.stride + shape_.stride - 1 - u - pos0_;
      uint8_t* to =
          shared_.q + ((static_cast<size_t>(h) * groups_.count + a) * shape_.stride + u) * q_bytes_;
      if (row < 0 || row >= rows_) {
        std::memset(to, 0, q_bytes_);
      } else {
        ops_.pack_q(to, &q_(row, h, 0), factor, keys_.dk);
      }
    }
  }
}

void Antidiagonal::find_limits(int g) const {
  for (int a = 0; a < groups_.count; ++a) {
    const int64_t begin = (groups_.first + a) * shape_.stride;
    const int64_t first = std::max(begin, pos0_);
    const int64_t last = std::min(begin + shape_.stride, pos0_ + rows_) - 1;
    const ListView& list = keys_.lists[g];
    const int s = shape_.stride;
    const int at = g * groups_.count + a;
    shared_.first[at] = visible_slots(keys_.mask, keys_.window, list, first).first / s;
    shared_.end[at] = (visible_slots(keys_.mask, keys_.window, list, last).end + s - 1) / s;
  }
}

uint64_t Antidiagonal::live_groups(const ListView& list, int page) const {
  if (list.live == nullptr) return ~uint64_t{0};
  uint64_t groups = 0;
  const int64_t slot0 = int64_t{page} * kColumns * shape_.stride;
  for (int64_t i = 0; i < int64_t{kColumns} * shape_.stride && slot0 + i < list.len; ++i) {
    const int64_t slot = slot0 + i;
    if ((list.live[slot / kPageTokens] >> (slot % kPageTokens)) & 1) {
      groups |= uint64_t{1} << (i / shape_.stride);
    }
  }
  return groups;
}

const void* Antidiagonal::strided_page(const ListView& list, int page, const Thread& t) const {
  const Store& store = *keys_.store;
  if (shape_.stride == 1) return store.k_page(list.pages[page]);
  const void* from[kColumns];
  int32_t at[kColumns];
  for (int u = 0; u < shape_.stride; ++u) {
    for (int b = 0; b < kColumns; ++b) {
      const int64_t slot = (int64_t{page} * kColumns + b) * shape_.stride + u;
      const int64_t holder = slot / kPageTokens;
      at[b] = static_cast<int32_t>(slot % kPageTokens);
      const bool reads =
          slot < list.len && ((live_slots(list, static_cast<int32_t>(holder)) >> at[b]) & 1) != 0;
      from[b] = reads ? store.k_page(list.pages[holder]) : t.zero;
    }
    ops_.gather_k(t.k + static_cast<size_t>(u) * ops_.k_bytes(keys_.dk), kColumns, from, at,
                  keys_.dk);
  }
  return t.k;
}

void Antidiagonal::score(int g, int page, const Thread& t) const {
  const ListView& list = keys_.lists[g];
  const int64_t column0 = int64_t{page} * kColumns;
  const int32_t* first = shared_.first + g * groups_.count;
  const int32_t* end = shared_.end + g * groups_.count;
  const bool reaches =
      std::any_of(end, end + groups_.count, [&](int32_t e) { return e > column0; });
  std::memset(t.zero, 0, ops_.k_bytes(keys_.dk));
  kernels::ScoreExtras extras = score_extras(keys_);
  if (shape_.stride == 1 && list.bias != nullptr && reaches) {
    page_bias(list, column0, t.bias);
    extras.bias = t.bias;
  }
  const uint64_t live = reaches ? live_groups(list, page) : 0;
  kernels::PageCall call;
  call.k_format = static_cast<int>(keys_.format);
  call.dk = keys_.dk * shape_.stride;
  call.k = reaches ? strided_page(list, page, t) : nullptr;
  call.extras = extras.cap != 0 || extras.bias != nullptr ? &extras : nullptr;
  call.m = t.m;
  call.l = t.l;
  call.p = t.p;
  for (int row = 0; row < groups_.count; row += kProbeTile) {
    call.rows = std::min(kProbeTile, groups_.count - row);
    const Seen seen = mask_columns(first + row, end + row, call.rows, column0, live, t.mask);
    call.mask = seen == Seen::kAll ? nullptr : t.mask;
    for (int h = 0; h < keys_.heads.n_q; ++h) {
      if (keys_.heads.kv_of(h) != g) continue;
      std::fill_n(t.m, call.rows, kMinusInf);
      std::fill_n(t.l, call.rows * kernels::kLaneFloats, 0.0f);
      const int64_t at = int64_t{h} * groups_.count + row;
      if (seen != Seen::kNothing) {
        call.q = shared_.q + static_cast<size_t>(at) * shape_.stride * q_bytes_;
        kernels_.weigh_page(call);
      }
      for (int r = 0; r < call.rows; ++r) {
        shared_.m[(at + r) * pages_ + page] = t.m[r];
        float* sums = shared_.sum + ((at + r) * pages_ + page) * parts_;
        for (int part = 0; part < parts_; ++part) {
          float sum = 0;
          const float* p = t.p + r * kColumns + part * columns_;
          for (int c = 0; t.mask[r] != 0 && c < columns_; ++c) sum += p[c];
          sums[part] = sum;
        }
      }
    }
  }
}

void Antidiagonal::sum_blocks(int h, int block) const {
  const int s = shape_.stride, per_block = shape_.block / s;
  const int64_t columns = (keys_.lists[keys_.heads.kv_of(h)].len + s - 1) / s;
  const int pages = static_cast<int>((columns + kColumns - 1) / kColumns);
  float* out = out_ + (int64_t{h} * blocks_.count + block) * stride_;
  std::fill_n(out, (columns + per_block - 1) / per_block, 0.0f);
  const int64_t begin = (blocks_.first + block) * per_block - groups_.first;
  const auto first = static_cast<int>(std::max<int64_t>(begin, 0));
  const auto end = static_cast<int>(std::min<int64_t>(begin + per_block, groups_.count));
  for (int a = first; a < end; ++a) {
    const int64_t at = (int64_t{h} * groups_.count + a) * pages_;
    float m = kMinusInf;
    for (int i = 0; i < pages; ++i) m = std::max(m, shared_.m[at + i]);
    if (m == kMinusInf) continue;  // sees nothing
    double total = 0;
    for (int i = 0; i < pages; ++i) {
      const float grow = std::exp2(shared_.m[at + i] - m);
      for (int part = 0; part < parts_; ++part)
        total += grow * shared_.sum[(at + i) * parts_ + part];
    }
    for (int i = 0; i < pages; ++i) {
      const auto weight = static_cast<float>(std::exp2(shared_.m[at + i] - m) / total);
      for (int part = 0; part < parts_; ++part) {
        const int64_t column = int64_t{i} * kColumns + int64_t{part} * columns_;
        if (column < columns) {
          out[column / per_block] += weight * shared_.sum[(at + i) * parts_ + part];
        }
      }
    }
  }
}

}  // namespace heed::select
