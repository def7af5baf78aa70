// The page store: keys and values of many sequences, per layer and KV head, in 64-token pages.
//
// A *list* is the pages of one (sequence, layer, KV head), ordered by position. Full pages are
// immutable and shared by reference count; fork copies lists, and only the last, partly filled page
// is copied on write. Lists are ragged: after eviction the heads of one layer may differ in length.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heed/cpu.h"
#include "heed/format.h"
#include "heed/status.h"
#include "heed/view.h"

namespace heed {

using SeqId = int32_t;
// Index of a page: size class in the top bits, page of that class in the rest. Never a pointer, so
// pages can move and arenas can empty.
using PageId = uint32_t;
inline constexpr PageId kNoPage = ~PageId{0};

struct LayerShape {
  int kv_heads = 0;
  int dk = 0;  // even, 2..kMaxHeadSize
  int dv = 0;
  Format k = Format::kBf16;
  Format v = Format::kBf16;
  bool v_aliases_k = false;  // V is the first dv columns of K (latent attention); no V is stored
};

struct StoreDesc {
  std::vector<LayerShape> layers;
  Isa isa = Isa::kScalar;  // whose pack functions append uses
  uint64_t max_bytes = 0;  // committed bytes the store may hold; 0 = no limit
};

// What attend reads of one list. Valid until the next change of the sequence.
struct ListView {
  const PageId* pages = nullptr;  // [ceil(len / 64)]
  int32_t len = 0;                // slots, rows appended in the open transaction included
  int64_t pos0 = 0;               // slot i holds position pos0 + i, unless `pos`
  const int32_t* pos = nullptr;   // [len] ascending positions, when not contiguous
  const uint64_t* live = nullptr; // [pages] bit i = slot i of the page may be read; null = all
  const float* bias = nullptr;    // [len] added to the scaled score; null = none
};

// Per-slot arrays that belong to a list, allocated when first asked for.
enum class SideArray : uint8_t { kPosition, kLive, kBias, kColumnMass, kTokenClass };

struct StoreBytes {
  uint64_t live = 0;       // entries x bytes of an entry in its format
  uint64_t committed = 0;  // pages handed out, with headers and side arrays
  uint64_t arenas = 0;     // address space taken from the system for pages
  uint64_t pages = 0;      // pages in use, shared ones once
};

class Store {
 public:
  // Errors: a layer whose sizes or formats are out of range.
  static Result<std::unique_ptr<Store>> create(const StoreDesc& desc);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const StoreDesc& desc() const;

  Result<SeqId> create_sequence(int64_t first_position = 0);
  // A sequence with the same committed content; pages are shared.
  Result<SeqId> fork(SeqId seq);
  Status drop(SeqId seq);

  // --- one transaction per step -----------------------------------------------------------
  // Reserves room for n more tokens in every list of `seq` (new pages, copy of a shared last page),
  // so that append neither allocates nor fails. On error nothing has changed.
  Status begin_append(SeqId seq, int n);
  // Writes rows k [n, kv_heads, dk] and v [n, kv_heads, dv] (last stride 1; v.data null when V
  // aliases K) of one layer behind its committed length. Called inside the graph by every thread of
  // the team: (list, page) units are dealt by member index. Rows are stored as given, so keys are
  // rotated before.
  void append(SeqId seq, int layer, View<const float, 3> k, View<const float, 3> v, int member,
              int members);
  // Writes one row k [dk], v [dv] of one list at open-transaction offset `i` < n; the caller makes
  // sure that one thread at a time writes a page (`append` in pieces, for fused producers).
  void append_rows(SeqId seq, int layer, int kv_head, int i, int n, const float* k,
                   int64_t k_stride, const float* v, int64_t v_stride);
  // Moves every layer of `seq` to its new length, or back to the old one. Never fail.
  void commit(SeqId seq);
  void abort(SeqId seq);

  // Removes the tokens at positions >= position from every list.
  Status truncate(SeqId seq, int64_t position);

  // --- reading -------------------------------------------------------------------------------
  // All KV heads of one layer, [kv_heads]; the pointer is stable until the sequence is dropped.
  const ListView* lists(SeqId seq, int layer) const;
  int64_t length(SeqId seq) const;         // committed tokens seen (next position - first position)
  int64_t next_position(SeqId seq) const;  // of the next appended token
  bool has_sequence(SeqId seq) const;

  const void* k_page(PageId page) const;
  const void* v_page(PageId page) const;  // equals k_page when V aliases K
  int layer_class(int layer) const;       // size class index of a layer's pages

  // A side array of one list, created zeroed (positions: filled in) when absent. Element type:
  // int32 positions, uint64 live masks (per page), float bias and mass, uint8 class.
  Result<void*> side_array(SeqId seq, int layer, int kv_head, SideArray kind);

  StoreBytes bytes() const;
  StoreBytes bytes(SeqId seq) const;  // a shared page counts whole for every holder

  // Every invariant of the structure (counts, fills, free lists, byte sums); for tests.
  Status check() const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed
