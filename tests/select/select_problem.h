// Keys of one layer in a store, queries of a chunk, and how a primitive's phases run on them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/aligned.h"
#include "base/random.h"
#include "cpu/team.h"
#include "heed/kv.h"
#include "isa_list.h"
#include "kv/arena_source.h"
#include "rounding.h"
#include "select/keys.h"

namespace heed::test {

struct SelectCase {
  Isa isa = Isa::kScalar;
  Format format = Format::kBf16;
  int heads = 2, kv_heads = 1;
  int dk = 64;
  int slots = 100;  // of the lists
  int rows = 10;    // of queries, the last ones
  float softcap = 0;
  int window = 0;  // 0: causal
  bool live = false, bias = false, gaps = false;
  int64_t pos0 = 0;  // of the list
  uint64_t seed = 1;
};

inline std::string to_text(const SelectCase& c) {
  return std::string(isa_name(c.isa)) + " " + format_name(c.format) +
         " H=" + std::to_string(c.heads) + "/" + std::to_string(c.kv_heads) +
         " d=" + std::to_string(c.dk) + " S=" + std::to_string(c.slots) +
         " rows=" + std::to_string(c.rows) + " softcap=" + std::to_string(c.softcap) +
         " window=" + std::to_string(c.window) + (c.live ? " live" : "") + (c.bias ? " bias" : "") +
         (c.gaps ? " gaps" : "") + " pos0=" + std::to_string(c.pos0) +
         " seed=" + std::to_string(c.seed);
}

class SelectProblem {
 public:
  explicit SelectProblem(const SelectCase& c, std::unique_ptr<kv::ArenaSource> arenas = {})
      : case_(c) {
    StoreDesc desc;
    desc.isa = c.isa;
    desc.layers = {{c.kv_heads, c.dk, c.dk, c.format, c.format}};
    auto store = arenas ? Store::create(desc, std::move(arenas)) : Store::create(desc);
    EXPECT_TRUE(store.is_ok()) << store.message();
    store_ = std::move(*store);
    seq_ = *store_->create_sequence(c.pos0);
    append(c.slots);
    if (c.gaps) make_gaps();
    if (c.live) thin_out();
    if (c.bias) make_bias();
    keys_.store = store_.get();
    keys_.heads = {c.heads, c.kv_heads, nullptr};
    keys_.format = c.format;
    keys_.dk = c.dk;
    keys_.scale = 1.5f / std::sqrt(static_cast<float>(c.dk));
    keys_.softcap = c.softcap;
    keys_.mask = c.window > 0 ? MaskKind::kWindow : MaskKind::kCausal;
    keys_.window = c.window;
    keys_.isa = c.isa;
    keys_.lists = store_->lists(seq_, 0);
    make_queries(c.rows);
  }

  // More random keys behind the list.
  void append(int n) {
    const int64_t width = int64_t{case_.kv_heads} * case_.dk;
    std::vector<float> rows(n * width);
    for (float& x : rows) x = static_cast<float>(random_normal(case_.seed, next_++));
    ASSERT_TRUE(store_->begin_append(seq_, n).is_ok());
    const auto view = View<const float, 3>::contiguous(rows.data(), {n, case_.kv_heads, case_.dk});
    store_->append(seq_, 0, view, view, 0, 1);
    store_->commit(seq_);
    k_.resize(case_.kv_heads);
    for (int64_t i = 0; i < n; ++i) {
      for (int g = 0; g < case_.kv_heads; ++g) {
        for (int d = 0; d < case_.dk; ++d) {
          k_[g].push_back(round_to(case_.format, view(i, g, d)));
        }
      }
    }
  }
  void truncate(int slots) {
    ASSERT_TRUE(store_->truncate(seq_, case_.pos0 + slots).is_ok());
    for (auto& k : k_) k.resize(int64_t{slots} * case_.dk);
  }

  // Rows of the last `rows` positions, with strides that hold more than the rows.
  void make_queries(int rows) {
    const int64_t stride_h = case_.dk + 3, stride_t = case_.heads * stride_h + 5;
    q_memory_.assign(rows * stride_t, 1e30f);
    q_ = {q_memory_.data(), {rows, case_.heads, case_.dk}, {stride_t, stride_h, 1}};
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t h = 0; h < case_.heads; ++h) {
        for (int64_t d = 0; d < case_.dk; ++d) {
          q_memory_[i * stride_t + h * stride_h + d] =
              static_cast<float>(random_normal(case_.seed + 77, (i * 64 + h) * 1024 + d));
        }
      }
    }
    const ListView& list = keys_.lists[0];
    const int64_t last = list.pos != nullptr ? list.pos[list.len - 1] : list.pos0 + list.len - 1;
    first_ = last - rows + 1;
  }

  const SelectCase& problem() const { return case_; }
  select::Keys& keys() { return keys_; }
  const ListView& list(int g) const { return keys_.lists[g]; }
  View<const float, 3>& q() { return q_; }
  int64_t first() const { return first_; }              // position of the first query row
  const float* k(int g) const { return k_[g].data(); }  // [len, dk] as stored
  Store& store() { return *store_; }
  SeqId seq() const { return seq_; }

  // How far a probability may be off, relative: queries of some tables are rounded to bf16.
  double tolerance() const {
    const bool rounded = select::k_ops(keys_).q_bytes(case_.dk) < 4u * case_.dk;
    return rounded ? 3e-2 : 1e-5;
  }

 private:
  void make_gaps() {
    for (int g = 0; g < case_.kv_heads; ++g) {
      auto* pos = static_cast<int32_t*>(*store_->side_array(seq_, 0, g, SideArray::kPosition));

      for (int i = case_.slots / 2; i < case_.slots; ++i) pos[i] += 37;
    }
  }
  void thin_out() {
    for (int g = 0; g < case_.kv_heads; ++g) {
      auto* live = static_cast<uint64_t*>(*store_->side_array(seq_, 0, g, SideArray::kLive));
      for (int64_t p = 0; p < pages_for(case_.slots); ++p) {
        live[p] = p == 1 ? 0 : random_bits(case_.seed + 5, p) | (p == 0 ? 0 : 1);
      }
    }
  }
  void make_bias() {
    for (int g = 0; g < case_.kv_heads; ++g) {
      auto* bias = static_cast<float*>(*store_->side_array(seq_, 0, g, SideArray::kBias));
      for (int i = 0; i < case_.slots; ++i) {
        bias[i] = static_cast<float>(random_normal(case_.seed + 9, i));
      }
    }
  }

  SelectCase case_;
  std::unique_ptr<Store> store_;
  SeqId seq_ = 0;
  uint64_t next_ = 0;
  select::Keys keys_;
  std::vector<std::vector<float>> k_;
  std::vector<float> q_memory_;
  View<const float, 3> q_;
  int64_t first_ = 0;
};

// Every phase's units, dealt to `team` in turn, with memory of `thread_bytes` for each.
template <class Primitive>
void run_phases(const Primitive& primitive, cpu::Team& team, size_t thread_bytes) {
  std::vector<AlignedMemory> scratch;
  for (int i = 0; i < team.size(); ++i) {
    scratch.push_back(allocate_aligned(thread_bytes));
    std::fill_n(scratch.back().get(), thread_bytes, uint8_t{0xff});  // NaN
  }
  for (int phase = 0; phase < Primitive::kPhases; ++phase) {
    team.run([&](int member, int members) {
      for (int64_t unit = member; unit < primitive.units(phase); unit += members) {
        primitive.run(phase, unit, scratch[member].get());
      }
    });
  }
}

// Memory for `bytes` whose content is NaN.
inline AlignedMemory poisoned(size_t bytes) {
  AlignedMemory memory = allocate_aligned(bytes);
  std::fill_n(memory.get(), bytes, uint8_t{0xff});
  return memory;
}

// Shapes that every primitive is tried on: all formats, head sizes, groups, ragged ends.
inline std::vector<SelectCase> select_cases() {
  std::vector<SelectCase> cases;
  uint64_t seed = 1;
  for (Isa isa : tested_isas()) {
    for (int dk : {64, 80, 96, 128, 256}) {
      for (int f = 0; f < kFormatCount; ++f) {
        SelectCase c;
        c.isa = isa;
        c.format = static_cast<Format>(f);
        c.dk = dk;
        c.seed = seed++;
        const auto draw = [&](uint64_t at, uint64_t n) { return random_below(c.seed, at, n); };
        c.kv_heads = 1 + static_cast<int>(draw(0, 2));
        c.heads = c.kv_heads * (1 + static_cast<int>(draw(1, 3)));
        c.slots = 1 + static_cast<int>(draw(2, f == 0 && dk == 64 ? 2600 : 700));
        c.rows = std::min<int>(c.slots, 1 + static_cast<int>(draw(3, 140)));
        c.softcap = draw(4, 3) == 0 ? 8.0f : 0.0f;
        c.window = draw(5, 4) == 0 ? 1 + static_cast<int>(draw(6, 300)) : 0;
        c.live = draw(7, 4) == 0;
        c.bias = draw(8, 4) == 0;
        c.gaps = draw(9, 4) == 0;
        c.pos0 = draw(10, 3) == 0 ? 128 : 0;
        cases.push_back(c);
      }
    }
  }
  return cases;
}

}  // namespace heed::test
