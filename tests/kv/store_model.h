// A plain model of the store: rows are numbers, pages are names, nothing is packed or pooled.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
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

// One list: the same tokens as its neighbours, until positions were edited and a truncate cut it
// elsewhere.
struct ModelList {
  std::vector<uint64_t> rows;       // committed
  std::vector<uint64_t> pages;      // names
  std::vector<uint64_t> old_pages;  // before the open transaction
  // Side arrays that exist, [rows and pending ones].
  std::optional<std::vector<int32_t>> position;
  std::optional<std::vector<bool>> live;
  std::optional<std::vector<float>> bias, mass;
  std::optional<std::vector<uint8_t>> token_class;
};

struct ModelSequence {
  int64_t first = 0, length = 0;
  std::vector<ModelList> lists;
  std::vector<uint64_t> pending;  // of the open transaction
  bool open = false;
};

class StoreModel {
 public:
  explicit StoreModel(const StoreDesc& desc) : desc_(desc) {
    for (size_t l = 0; l < desc.layers.size(); ++l) {
      layer_of_.insert(layer_of_.end(), desc.layers[l].kv_heads, static_cast<int>(l));
    }
  }

  std::map<SeqId, ModelSequence> sequences;
  uint64_t next_row = 1, next_page = 1;

  int lists() const { return static_cast<int>(layer_of_.size()); }
  const LayerShape& layer_of(int list) const { return desc_.layers[layer_of_[list]]; }
  int layer_index(int list) const { return layer_of_[list]; }
  int head_index(int list) const {
    int head = 0;
    while (list > head && layer_of_[list - head - 1] == layer_of_[list]) ++head;
    return head;
  }

  void create(SeqId id, int64_t first) {
    ModelSequence& s = sequences[id];
    s.first = first;
    s.lists.resize(lists());
  }

  void begin(ModelSequence& s, int n) {
    for (int t = 0; t < n; ++t) s.pending.push_back(next_row++);
    for (int i = 0; i < lists(); ++i) {
      ModelList& list = s.lists[i];
      list.old_pages = list.pages;
      if (list.rows.size() % kPageTokens != 0 && holders(i, list.pages.back()) > 1) {
        list.pages.back() = next_page++;
      }
      while (list.pages.size() * kPageTokens < list.rows.size() + n) {
        list.pages.push_back(next_page++);
      }
      resize_sides(list, list.rows.size() + n);
      for (int t = 0; list.position && t < n; ++t) {
        (*list.position)[list.rows.size() + t] = static_cast<int32_t>(s.first + s.length + t);
      }
    }
    s.open = true;
  }

  void commit(ModelSequence& s) {
    for (ModelList& list : s.lists) {
      list.rows.insert(list.rows.end(), s.pending.begin(), s.pending.end());
    }
    s.length += static_cast<int64_t>(s.pending.size());
    s.pending.clear();
    s.open = false;
  }

  void abort(ModelSequence& s) {
    for (ModelList& list : s.lists) {
      list.pages = list.old_pages;
      resize_sides(list, list.rows.size());
    }
    s.pending.clear();
    s.open = false;
  }

  void truncate(ModelSequence& s, int64_t position) {
    if (position >= s.first + s.length) return;
    for (int i = 0; i < lists(); ++i) {
      ModelList& list = s.lists[i];
      size_t keep = 0;
      while (keep < list.rows.size() && position_of(s, list, keep) < position) ++keep;
      if (keep == list.rows.size()) continue;
      list.rows.resize(keep);
      list.pages.resize((keep + kPageTokens - 1) / kPageTokens);
      if (keep % kPageTokens != 0 && holders(i, list.pages.back()) > 1) {
        list.pages.back() = next_page++;
      }
      resize_sides(list, keep);
    }
    s.length = position - s.first;
  }

  uint64_t distinct_pages() const {
    uint64_t n = 0;
    for (int i = 0; i < lists(); ++i) n += names(i).size();
    return n;
  }

  // Of the pages alone, with 8 bytes of header each.
  uint64_t page_bytes() const {
    uint64_t bytes = 0;
    for (int i = 0; i < lists(); ++i) bytes += names(i).size() * page_cost(i);
    return bytes;
  }
  // Page bytes that are counted more than once when every sequence is counted alone.
  uint64_t shared_page_bytes() const {
    uint64_t bytes = 0;
    for (int i = 0; i < lists(); ++i) {
      for (const auto& [name, holders] : names(i)) bytes += (holders - 1) * page_cost(i);
    }
    return bytes;
  }

  uint64_t live_bytes() const {
    uint64_t bytes = 0;
    for (int i = 0; i < lists(); ++i) {
      std::map<uint64_t, uint64_t> readable;  // page -> slots
      for (const auto& [id, s] : sequences) {
        const ModelList& list = s.lists[i];
        for (size_t r = 0; r < list.rows.size(); ++r) {
          if (list.live && !(*list.live)[r]) continue;
          const uint64_t bit = uint64_t{1} << (r % kPageTokens);
          readable[list.pages[r / kPageTokens]] |= bit;
          // A page that an open transaction copied is there twice until commit or abort.
          if (s.open) readable[list.old_pages[r / kPageTokens]] |= bit;
        }
      }
      const LayerShape& layer = layer_of(i);
      const uint64_t entry = layer.dk * element_bytes(layer.k) +
                             (layer.v_aliases_k ? 0 : layer.dv * element_bytes(layer.v));
      for (const auto& [page, slots] : readable) bytes += std::popcount(slots) * entry;
    }
    return bytes;
  }

  // Every row and side value of one sequence of the store.
  void expect_equal(Store& store, SeqId id) const {
    const ModelSequence& s = sequences.at(id);
    ASSERT_EQ(store.length(id), s.length);
    ASSERT_EQ(store.next_position(id), s.first + s.length);
    for (int i = 0; i < lists(); ++i) {
      SCOPED_TRACE(cat("sequence ", id, " list ", i));
      const ListView& view = store.lists(id, layer_of_[i])[head_index(i)];
      ASSERT_EQ(view.pos0, s.first);
      ASSERT_NO_FATAL_FAILURE(expect_rows(store, s, i, view));
      ASSERT_NO_FATAL_FAILURE(expect_views(s.lists[i], view));
      ASSERT_NO_FATAL_FAILURE(expect_hidden_sides(store, id, i));
    }
  }

 private:
  static uint64_t element_bytes(Format f) { return f == Format::kF32 ? 4 : 2; }

  uint64_t page_cost(int list) const {
    const LayerShape& l = layer_of(list);
    const size_t k = kernels::format_ops(desc_.isa, l.k).k_bytes(l.dk);
    return k + (l.v_aliases_k ? 0 : kernels::format_ops(desc_.isa, l.v).v_bytes(l.dv)) + 8;
  }

  // Pages of list `i` of all sequences, with the number of their holders. A page that an open
  // transaction replaced stays held by it.
  std::map<uint64_t, uint64_t> names(int i) const {
    std::map<uint64_t, uint64_t> holders;
    for (const auto& [id, s] : sequences) {
      const ModelList& list = s.lists[i];
      for (uint64_t p : list.pages) ++holders[p];
      if (!s.open) continue;
      for (uint64_t p : list.old_pages) {
        if (std::ranges::count(list.pages, p) == 0) ++holders[p];
      }
    }
    return holders;
  }
  uint64_t holders(int i, uint64_t page) const { return names(i)[page]; }

  static int64_t position_of(const ModelSequence& s, const ModelList& list, size_t slot) {
    return list.position ? (*list.position)[slot] : s.first + static_cast<int64_t>(slot);
  }

  static void resize_sides(ModelList& list, size_t n) {
    if (list.position) list.position->resize(n);
    if (list.live) list.live->resize(n, true);
    if (list.bias) list.bias->resize(n, 0.0f);
    if (list.mass) list.mass->resize(n, 0.0f);
    if (list.token_class) list.token_class->resize(n, 0);
  }

  void expect_rows(const Store& store, const ModelSequence& s, int i, const ListView& view) const {
    const LayerShape& shape = layer_of(i);
    const int layer = layer_of_[i], head = head_index(i);
    std::vector<uint64_t> ids = s.lists[i].rows;
    ids.insert(ids.end(), s.pending.begin(), s.pending.end());
    ASSERT_EQ(view.len, static_cast<int>(ids.size()));
    std::vector<float> k(shape.dk), v(shape.dv);
    for (size_t r = 0; r < ids.size(); ++r) {
      const PageId page = view.pages[r / kPageTokens];
      const int slot = static_cast<int>(r % kPageTokens);
      kernels::format_ops(desc_.isa, shape.k)
          .unpack_k(store.k_page(page), slot, 1, k.data(), 0, shape.dk);
      for (int d = 0; d < shape.dk; ++d) {
        ASSERT_EQ(k[d], row_value(ids[r], layer, head, false, d)) << "row " << r << " column " << d;
      }
      if (shape.v_aliases_k) {
        ASSERT_EQ(store.k_page(page), store.v_page(page));
        continue;
      }
      kernels::format_ops(desc_.isa, shape.v)
          .unpack_v(store.v_page(page), slot, 1, v.data(), 0, shape.dv);
      for (int d = 0; d < shape.dv; ++d) {
        ASSERT_EQ(v[d], row_value(ids[r], layer, head, true, d)) << "row " << r << " column " << d;
      }
    }
  }

  // The side arrays that a view shows: there exactly when asked for, with the model's values.
  void expect_views(const ModelList& list, const ListView& view) const {
    if (view.len == 0) return;
    ASSERT_EQ(view.pos != nullptr, list.position.has_value());
    ASSERT_EQ(view.live != nullptr, list.live.has_value());
    ASSERT_EQ(view.bias != nullptr, list.bias.has_value());
    for (int r = 0; r < view.len; ++r) {
      if (view.pos) {
        ASSERT_EQ(view.pos[r], (*list.position)[r]) << r;
      }
      if (view.live) {
        ASSERT_EQ(view.live[r / kPageTokens] >> (r % kPageTokens) & 1, (*list.live)[r]) << r;
      }
      if (view.bias) {
        ASSERT_EQ(view.bias[r], (*list.bias)[r]) << r;
      }
    }
  }

  // The others, read through the store; asking for one that exists changes nothing.
  void expect_hidden_sides(Store& store, SeqId id, int i) const {
    const ModelList& list = sequences.at(id).lists[i];
    const auto same = [&](SideArray kind, const auto& want) {
      const auto data = store.side_array(id, layer_of_[i], head_index(i), kind);
      ASSERT_TRUE(data.is_ok()) << data.message();
      if (want.empty()) return;
      ASSERT_EQ(std::memcmp(*data, want.data(), want.size() * sizeof(want[0])), 0)
          << "side array " << static_cast<int>(kind);
    };
    if (list.mass) {
      ASSERT_NO_FATAL_FAILURE(same(SideArray::kColumnMass, *list.mass));
    }
    if (list.token_class) {
      ASSERT_NO_FATAL_FAILURE(same(SideArray::kTokenClass, *list.token_class));
    }
  }

  StoreDesc desc_;
  std::vector<int> layer_of_;  // [lists]
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
