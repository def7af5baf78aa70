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

namespace heed::kv {
class ArenaSource;
}

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
  const PageId* pages = nullptr;   // [ceil(len / 64)]
  int32_t len = 0;                 // slots, rows appended in the open transaction included
  int64_t pos0 = 0;                // slot i holds position pos0 + i, unless `pos`
  const int32_t* pos = nullptr;    // [len] ascending positions, when not contiguous
  const uint64_t* live = nullptr;  // [pages] bit i = slot i of the page may be read; null = all
  const float* bias = nullptr;     // [len] added to the scaled score; null = none
};

// Per-slot arrays that belong to a list, allocated when first asked for.
enum class SideArray : uint8_t { kPosition, kLive, kBias, kColumnMass, kTokenClass };

struct StoreBytes {
  // Committed slots x bytes of an entry (its K and V in the page's format), shared pages once.
  // Slots that kLive masks out for every holder do not count, rows of an open transaction not
  // before commit.
  uint64_t live = 0;
  // What the store holds: page bytes and 8 bytes of header per page handed out (pages that an open
  // transaction reserved included), and per sequence its lists: structures, page tables and side
  // arrays at their capacity. StoreDesc::max_bytes limits this figure.
  uint64_t committed = 0;
  uint64_t arenas = 0;  // address space taken from the system for pages
  uint64_t pages = 0;   // pages in use
};

// Changes (everything but append and the const functions) come from one thread at a time, and not
// while others read. Errors: kNotFound for an unknown sequence, kInvalidArgument for a call that
// does not fit (n < 1, a transaction already open, none open ...), kOutOfRange past a limit,
// kResourceExhausted when memory or max_bytes does not suffice; then nothing has changed.
class Store {
 public:
  // Errors: a layer whose sizes or formats are out of range.
  static Result<std::unique_ptr<Store>> create(const StoreDesc& desc);
  // The same over arenas from elsewhere (src/kv/arena_source.h): fault injection, guard pages.
  static Result<std::unique_ptr<Store>> create(const StoreDesc& desc,
                                               std::unique_ptr<kv::ArenaSource> source);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const StoreDesc& desc() const;

  // Positions are below 2^31. An id is not given again before 2^31 others were.
  Result<SeqId> create_sequence(int64_t first_position = 0);
  // A sequence with the same content and its own copy of the side arrays; pages are shared. Not
  // while a transaction of `seq` is open.
  Result<SeqId> fork(SeqId seq);
  Status drop(SeqId seq);  // an open transaction is aborted

  // --- one transaction per step -----------------------------------------------------------
  // Reserves room for n more tokens in every list of `seq` (new pages, copy of a shared last page),
  // so that append neither allocates nor fails. On error nothing has changed.
  Status begin_append(SeqId seq, int n);
  // Writes rows k [n, kv_heads, dk] and v [n, kv_heads, dv] (last stride 1; v.data null when V
  // aliases K) of one layer behind its committed length. Called inside the graph by every thread of
  // the team: (list, page) units are dealt by member index. Rows are stored as given, so keys are
  // rotated before. n is begin_append's (of a filling: extend's, and the rows go behind those that
  // the layer got before); a call that does not fit (other n, no transaction, unknown layer) writes
  // nothing.
  void append(SeqId seq, int layer, View<const float, 3> k, View<const float, 3> v, int member,
              int members);
  // Writes rows k [n, dk] and v [n, dv] of one list at offset `i` of what append would write; the
  // caller makes sure that one thread at a time writes a page (`append` in pieces, for fused
  // producers). Strides count floats.
  void append_rows(SeqId seq, int layer, int kv_head, int i, int n, const float* k,
                   int64_t k_stride, const float* v, int64_t v_stride);
  // Moves every layer of `seq` to its new length, or back to the old one. Never fail. A filling
  // whose layers have not all got all rows moves back.
  void commit(SeqId seq);
  void abort(SeqId seq);

  // --- one transaction of a whole prompt, layer by layer ----------------------------------
  // Opens a transaction of `rows` tokens that every layer gets piece by piece, each taking its
  // memory then. Pages that max_bytes has no room for are refused at once.
  Status begin_filling(SeqId seq, int64_t rows);
  // Room in one layer for n more of those rows, which append then writes. On error the layer is as
  // it was.
  Status extend(SeqId seq, int layer, int n);
  bool filling(SeqId seq) const;

  // Removes the tokens at positions >= position from every list; nothing to remove is ok. A shared
  // page that is cut in its middle is copied, so that the removed rows are out of reach: this can
  // run out of memory. Not while a transaction is open.
  Status truncate(SeqId seq, int64_t position);

  // --- reading -------------------------------------------------------------------------------
  // All KV heads of one layer, [kv_heads]; null for an unknown sequence or layer. The pointer is
  // stable until the sequence is dropped and its content follows every change, so graphs keep it;
  // the arrays inside may move at begin_append and side_array.
  const ListView* lists(SeqId seq, int layer) const;
  int64_t length(SeqId seq) const;  // committed tokens (next position - first position), 0 unknown
  int64_t next_position(SeqId seq) const;  // of the next appended token
  bool has_sequence(SeqId seq) const;

  // Of a page in some list; 64-byte aligned, and a page ends where its last byte does: a prefetch
  // of the next page looks its handle up.
  const void* k_page(PageId page) const;
  const void* v_page(PageId page) const;  // equals k_page when V aliases K
  // Whether `page` is in use and laid out as the pages of `layer` are; for any number.
  bool holds(PageId page, int layer) const;

  // A side array of one list. When absent it is made neutral: positions filled in, every live bit
  // set, the rest 0; slots appended later start the same way. Element type: int32 positions, uint64
  // live masks (per page), float bias and mass, uint8 class. Valid until the next change of the
  // sequence; null when the list has never held a page. Position, live and bias are shown in the
  // ListView.
  Result<void*> side_array(SeqId seq, int layer, int kv_head, SideArray kind);

  StoreBytes bytes() const;
  StoreBytes bytes(SeqId seq) const;  // a shared page counts whole for every holder

  // Every invariant of the structure (references, counts, fills, free lists, zeros behind the last
  // row, byte sums); walks everything, for tests.
  Status check() const;

  struct Impl;  // src/kv/store_impl.h
  Impl& impl() const { return *impl_; }

 private:
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed
