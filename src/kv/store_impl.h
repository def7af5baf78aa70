// The inside of Store, shared by the files that implement it: store.cpp (sequences, reading),
// transaction.cpp, filling.cpp, truncate.cpp, append.cpp, bytes.cpp, check.cpp.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "heed/kv.h"
#include "kernels/format_ops.h"
#include "kv/list.h"
#include "kv/pool.h"

namespace heed::kv {

// What a layer's shape means for its pages.
struct LayerInfo {
  LayerShape shape;
  const kernels::FormatOps* k_ops = nullptr;
  const kernels::FormatOps* v_ops = nullptr;
  int size_class = 0;
  int first_list = 0;  // of the layer, in Sequence::lists
};

struct Sequence {
  std::vector<List> lists;      // layer-major, [sum of kv_heads]
  std::vector<ListView> views;  // beside lists; never resized, so graphs may keep pointers into it
  int64_t first_position = 0;
  int64_t length = 0;    // committed tokens seen
  int32_t pending = 0;   // rows of the open transaction, 0: none is open
  bool filling = false;  // its layers get them piece by piece

  bool open() const { return pending > 0; }
};

}  // namespace heed::kv

namespace heed {

struct Store::Impl {
  explicit Impl(std::unique_ptr<kv::ArenaSource> source) : pool(std::move(source)) {}
  ~Impl();

  Status add_layer(size_t layer);  // of desc, checked before

  kv::Sequence* find(SeqId seq) {
    auto it = sequences.find(seq);
    return it == sequences.end() ? nullptr : it->second.get();
  }
  Result<kv::Sequence*> find_or_error(SeqId seq);
  // The same, and an error when a transaction is open; `what` is the refused operation.
  Result<kv::Sequence*> find_closed(SeqId seq, const char* what);

  // kResourceExhausted when `extra` more committed bytes would pass max_bytes.
  Status check_limit(uint64_t extra, SeqId seq, const char* what) const;
  uint64_t page_cost(int size_class) const {
    return pool.page_bytes(size_class) + sizeof(kv::PageHeader);
  }
  int layer_of(size_t list) const { return layer_of_list[list]; }

  // Takes and releases pages with their cost in `committed`.
  PageId take(int size_class);
  PageId take_copy(PageId page);
  void release(PageId page);

  // Reserves pages[c] pages of every size class c, or none.
  Status reserve_pages(const uint64_t* pages, SeqId seq, const char* what);
  // Adds room for n tokens to lists [first, end), or fails and changes nothing.
  Status extend(kv::Sequence& s, SeqId seq, size_t first, size_t end, int n);
  // The same for one list, within reservations; `growth` may be null.
  void extend(kv::Sequence& s, size_t list, kv::ListGrowth* growth, int n);
  Status check_positions(const kv::Sequence& s, SeqId seq, int64_t n) const;
  // Lets go of the pages behind `slots` and makes the side arrays neutral behind them.
  void cut(kv::List& list, int32_t slots);
  // Replaces a shared page by a copy, within a reservation.
  void own_page(kv::List& list, int32_t page);
  // The list keeps its first `slots` slots, slots < len, and alone holds the page that this cuts.
  void shorten(kv::Sequence& s, size_t list, int32_t slots);
  // Zeroes slots [first, 64) of a page that one list alone holds.
  void zero_slots(const kv::LayerInfo& layer, PageId page, int first);
  void refresh_view(kv::Sequence& s, size_t list, int32_t len);
  void set_committed_fill(const kv::List& list, int32_t from, int32_t to);
  void undo_append(kv::Sequence& s);
  void free_sequence(kv::Sequence& s);
  // Gives an id to a finished sequence and takes references on the pages it names.
  Result<SeqId> add_sequence(std::unique_ptr<kv::Sequence> sequence, const char* what);
  uint64_t live_bytes() const;
  Status check_list(const kv::Sequence& s, size_t list) const;

  StoreDesc desc;
  std::vector<kv::LayerInfo> layers;
  std::vector<int> layer_of_list;  // [lists of a sequence]
  kv::PagePool pool;
  // Ids count up and skip the living, so an id is not used again before 2^31 others were.
  std::unordered_map<SeqId, std::unique_ptr<kv::Sequence>> sequences;
  SeqId next_id = 0;
  uint64_t committed = 0;
  uint64_t lists_with_live = 0;  // lists that hold a kLive array: then live bytes need a walk
};

}  // namespace heed
