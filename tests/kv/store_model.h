// A plain model of the store: rows are numbers, pages are names, nothing is packed or pooled.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "heed/kv.h"
#include "kernels/format_ops.h"

namespace heed::test {

// Element d of row `id`: a multiple of 1/8 below 16, which every format stores exactly.
inline float row_value(uint64_t id, int layer, int head, bool value, int d) {
  const uint64_t stream = id * 64 + layer * 16 + head * 2 + value;
  return static_cast<float>(static_cast<int>(random_below(stream, d, 255)) - 127) / 8.0f;
}

struct Rows {
  std::vector<float> k, v;
  View<const float, 3> k_view, v_view;
};

// Rows ids[0..n) of one layer as append wants them; `pad` floats lie between rows.
inline Rows make_rows(const LayerShape& shape, int layer, const std::vector<uint64_t>& ids,
                      int pad) {
  Rows rows;
  const int64_t n = static_cast<int64_t>(ids.size());
  const auto fill = [&](bool value, int d_head, std::vector<float>& out) {
    const int64_t stride = int64_t{shape.kv_heads} * d_head + pad;
    out.assign(n * stride, -1000.0f);
    for (int64_t t = 0; t < n; ++t) {
      for (int g = 0; g < shape.kv_heads; ++g) {
        for (int d = 0; d < d_head; ++d) {
          out[t * stride + g * d_head + d] = row_value(ids[t], layer, g, value, d);
        }
      }
    }
    return View<const float, 3>{out.data(), {n, shape.kv_heads, d_head}, {stride, d_head, 1}};
  };
  rows.k_view = fill(false, shape.dk, rows.k);
  if (!shape.v_aliases_k) rows.v_view = fill(true, shape.dv, rows.v);
  return rows;
}

struct ModelSequence {
  int64_t first = 0;
  std::vector<uint64_t> rows;   // committed
  std::vector<uint64_t> pages;  // names; the same for every list, because tokens go to all
  // Open transaction.
  std::vector<uint64_t> pending;
  std::vector<uint64_t> old_pages;
  bool open = false;
  // By list index: live bits of slots, and the other side arrays that exist.
  std::map<int, std::vector<bool>> live;
  std::map<int, std::vector<float>> bias;
  std::map<int, std::vector<uint8_t>> token_class;
  std::map<int, bool> position;
};

class StoreModel {
 public:
  explicit StoreModel(const StoreDesc& desc) : desc_(desc) {}

  std::map<SeqId, ModelSequence> sequences;
  uint64_t next_row = 1, next_page = 1;

  uint64_t holders(uint64_t page) const {
    uint64_t n = 0;
    for (const auto& [id, s] : sequences) {
      for (uint64_t p : s.pages) n += p == page;
      if (s.open) {
        // A replaced page stays held by the transaction.
        for (uint64_t p : s.old_pages)
          n += p == page && !std::count(s.pages.begin(), s.pages.end(), p);
      }
    }
    return n;
  }

  void begin(ModelSequence& s, int n) {
    s.old_pages = s.pages;
    s.open = true;
    for (int i = 0; i < n; ++i) s.pending.push_back(next_row++);
    if (s.rows.size() % kPageTokens != 0 && holders(s.pages.back()) > 1) {
      s.pages.back() = next_page++;
    }
    while (s.pages.size() * kPageTokens < s.rows.size() + n) s.pages.push_back(next_page++);
    for (auto& [list, bits] : s.live) bits.resize(bits.size() + n, true);
    for (auto& [list, values] : s.bias) values.resize(values.size() + n, 0.0f);
    for (auto& [list, values] : s.token_class) values.resize(values.size() + n, 0);
  }

  void commit(ModelSequence& s) {
    s.rows.insert(s.rows.end(), s.pending.begin(), s.pending.end());
    s.pending.clear();
    s.open = false;
  }

  void abort(ModelSequence& s) {
    s.pages = s.old_pages;
    s.pending.clear();
    s.open = false;
    shrink_sides(s);
  }

  void truncate(ModelSequence& s, int64_t position) {
    const size_t keep = static_cast<size_t>(std::max<int64_t>(0, position - s.first));
    if (keep >= s.rows.size()) return;
    s.rows.resize(keep);
    s.pages.resize((keep + kPageTokens - 1) / kPageTokens);
    if (keep % kPageTokens != 0 && holders(s.pages.back()) > 1) s.pages.back() = next_page++;
    shrink_sides(s);
  }

  int lists() const {
    int n = 0;
    for (const LayerShape& l : desc_.layers) n += l.kv_heads;
    return n;
  }

  static uint64_t element_bytes(Format f) { return f == Format::kF32 ? 4 : 2; }
  uint64_t entry_bytes(const LayerShape& l) const {
    return l.dk * element_bytes(l.k) + (l.v_aliases_k ? 0 : l.dv * element_bytes(l.v));
  }

  uint64_t distinct_pages() const {
    std::map<uint64_t, bool> names;
    for (const auto& [id, s] : sequences) {
      for (uint64_t p : s.pages) names[p] = true;
      if (s.open) {
        for (uint64_t p : s.old_pages) names[p] = true;
      }
    }
    return names.size();
  }

  uint64_t live_bytes() const {
    std::map<std::pair<int, uint64_t>, uint64_t> readable;  // (list, page) -> slots
    for (const auto& [id, s] : sequences) {
      for (int list = 0; list < lists(); ++list) {
        const auto live = s.live.find(list);
        for (size_t i = 0; i < s.rows.size(); ++i) {
          if (live != s.live.end() && !live->second[i]) continue;
          const uint64_t bit = uint64_t{1} << (i % kPageTokens);
          readable[{list, s.pages[i / kPageTokens]}] |= bit;
          // A page that an open transaction copied is there twice until commit or abort.
          if (s.open) readable[{list, s.old_pages[i / kPageTokens]}] |= bit;
        }
      }
    }
    uint64_t bytes = 0;
    for (const auto& [key, slots] : readable) {
      bytes += std::popcount(slots) * entry_bytes(layer_of(key.first));
    }
    return bytes;
  }

  // Bytes of the pages alone, with 8 bytes of header each.
  uint64_t page_bytes() const {
    uint64_t per_page = 0;
    for (const LayerShape& l : desc_.layers) {
      const size_t k = kernels::format_ops(desc_.isa, l.k).k_bytes(l.dk);
      const size_t v = l.v_aliases_k ? 0 : kernels::format_ops(desc_.isa, l.v).v_bytes(l.dv);
      per_page += l.kv_heads * (k + v + 8);
    }
    return distinct_pages() * per_page;
  }

  const LayerShape& layer_of(int list) const {
    size_t l = 0;
    while (list >= desc_.layers[l].kv_heads) list -= desc_.layers[l++].kv_heads;
    return desc_.layers[l];
  }

  // Every row, position and side value of one sequence of the store.
  void expect_equal(const Store& store, SeqId id) const {
    const ModelSequence& s = sequences.at(id);
    ASSERT_EQ(store.length(id), static_cast<int64_t>(s.rows.size()));
    ASSERT_EQ(store.next_position(id), s.first + static_cast<int64_t>(s.rows.size()));
    int list = 0;
    for (size_t l = 0; l < desc_.layers.size(); ++l) {
      const ListView* views = store.lists(id, static_cast<int>(l));
      for (int g = 0; g < desc_.layers[l].kv_heads; ++g, ++list) {
        ASSERT_NO_FATAL_FAILURE(expect_rows(store, s, static_cast<int>(l), g, views[g]));
        ASSERT_NO_FATAL_FAILURE(expect_sides(s, list, views[g]));
      }
    }
  }

 private:
  void shrink_sides(ModelSequence& s) {
    for (auto& [list, bits] : s.live) bits.resize(s.rows.size());
    for (auto& [list, values] : s.bias) values.resize(s.rows.size());
    for (auto& [list, values] : s.token_class) values.resize(s.rows.size());
  }

  void expect_rows(const Store& store, const ModelSequence& s, int layer, int head,
                   const ListView& view) const {
    const LayerShape& shape = desc_.layers[layer];
    std::vector<uint64_t> ids = s.rows;
    ids.insert(ids.end(), s.pending.begin(), s.pending.end());
    ASSERT_EQ(view.len, static_cast<int>(ids.size()));
    std::vector<float> k(shape.dk), v(shape.dv);
    for (size_t i = 0; i < ids.size(); ++i) {
      const PageId page = view.pages[i / kPageTokens];
      const int slot = static_cast<int>(i % kPageTokens);
      kernels::format_ops(desc_.isa, shape.k)
          .unpack_k(store.k_page(page), slot, 1, k.data(), 0, shape.dk);
      for (int d = 0; d < shape.dk; ++d) {
        ASSERT_EQ(k[d], row_value(ids[i], layer, head, false, d)) << "row " << i << " column " << d;
      }
      if (shape.v_aliases_k) {
        ASSERT_EQ(store.k_page(page), store.v_page(page));
        continue;
      }
      kernels::format_ops(desc_.isa, shape.v)
          .unpack_v(store.v_page(page), slot, 1, v.data(), 0, shape.dv);
      for (int d = 0; d < shape.dv; ++d) {
        ASSERT_EQ(v[d], row_value(ids[i], layer, head, true, d)) << "row " << i << " column " << d;
      }
    }
  }

  void expect_sides(const ModelSequence& s, int list, const ListView& view) const {
    ASSERT_EQ(view.pos0, s.first);
    if (s.position.contains(list) && view.len > 0) {
      ASSERT_NE(view.pos, nullptr);
      for (int i = 0; i < view.len; ++i) ASSERT_EQ(view.pos[i], s.first + i);
    }
    if (const auto live = s.live.find(list); live != s.live.end()) {
      for (int i = 0; i < view.len; ++i) {
        ASSERT_EQ(view.live[i / kPageTokens] >> (i % kPageTokens) & 1, live->second[i]) << i;
      }
    } else {
      ASSERT_EQ(view.live, nullptr);
    }
    if (const auto bias = s.bias.find(list); bias != s.bias.end()) {
      for (int i = 0; i < view.len; ++i) ASSERT_EQ(view.bias[i], bias->second[i]) << i;
    } else {
      ASSERT_EQ(view.bias, nullptr);
    }
  }

  StoreDesc desc_;
};

// The best instruction set of this machine; what every test of the store packs with.
inline Isa test_isa() {
  const Result<Isa> isa = choose_isa();
  EXPECT_TRUE(isa.is_ok()) << isa.message();
  return isa.is_ok() ? *isa : Isa::kScalar;
}

inline std::unique_ptr<Store> make_store(const StoreDesc& desc) {
  auto store = Store::create(desc);
  EXPECT_TRUE(store.is_ok()) << store.message();
  return store.is_ok() ? std::move(*store) : nullptr;
}

// Appends rows `ids` to every layer of an open transaction, by one thread.
inline void append_all(Store& store, SeqId seq, const std::vector<uint64_t>& ids, int pad = 0) {
  for (size_t l = 0; l < store.desc().layers.size(); ++l) {
    const Rows rows = make_rows(store.desc().layers[l], static_cast<int>(l), ids, pad);
    store.append(seq, static_cast<int>(l), rows.k_view, rows.v_view, 0, 1);
  }
}

}  // namespace heed::test
