// What a mechanism of the stage `prefill` implements: which keys the query blocks of a prompt read.
//
// A selector is a list of phases. The framework (selection.h) deals the items of each phase to the
// threads of the step, with a barrier behind every phase; then it compiles the key sets that the
// phases have left into a plan, which attention runs. Everything is sized by bound() before the
// graph: a phase neither allocates, nor throws, nor waits for another item.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heed/attention.h"
#include "heed/mechanisms.h"
#include "select/blocks.h"
#include "select/key_set.h"

namespace heed {

// Bits of PrefillSelector::needs().
enum SelectNeed : uint32_t {
  kNeedsQueries = 1,  // SelectInput::q
};

// One sequence, one layer, the chunk at hand. Its keys are in the lists already, rotated.
struct SelectInput {
  int layer = 0;
  HeadMap heads;
  int dk = 0, dv = 0;
  float scale = 1.0f;    // of q.k
  float softcap = 0.0f;  // 0: none
  int64_t pos0 = 0;      // position of the chunk's first row
  int32_t rows = 0;      // of the chunk
  // Positions [prompt_first, prompt_end) of the whole prompt; prompt_end > pos0 + rows when chunks
  // follow. Keys before prompt_first are from earlier turns.
  int64_t prompt_first = 0, prompt_end = 0;
  std::span<const select::QueryBlock> blocks;  // of the chunk, in order
  View<const float, 3> q;           // [rows, H, dk] rotated, last stride 1; data null unless needed
  const ListView* lists = nullptr;  // [kv_heads]
  const Store* store = nullptr;
  int stored_layer = 0;  // of the store, whose pages the lists name
  MaskKind mask = MaskKind::kCausal;
  int window = 0;
  Isa isa = Isa::kScalar;
};

// The most that a step may ask for.
struct SelectShape {
  HeadMap heads;
  int dk = 0, dv = 0;
  int32_t rows = 0;   // of a chunk
  int64_t slots = 0;  // of a list, the chunk's included
  int threads = 1;
};

struct SelectBound {
  select::SetBound set;     // of each key set
  size_t shared_bytes = 0;  // scratch of the step, which all phases see; begins undefined
  size_t thread_bytes = 0;  // scratch of each thread; undefined in every item
};

// 64-byte aligned pieces of the sizes that bound() named.
struct SelectScratch {
  std::byte* shared = nullptr;
  std::byte* own = nullptr;
  int member = 0;
};

class PrefillSelector {
 public:
  virtual ~PrefillSelector() = default;

  virtual const char* name() const = 0;
  virtual uint32_t needs() const { return 0; }  // bits of SelectNeed
  // Query rows that share a key set: blocks begin at multiples of it in absolute position. >= 1.
  virtual int block() const = 0;
  // One key set for all heads that read a KV head (set = KV head), or one a query head (set =
  // head).
  virtual bool group_shared() const = 0;
  virtual Invariance invariance() const = 0;
  // Whether it selects under a sliding window too. Layers that have one attend densely else, which
  // the report tells.
  virtual bool takes_windows() const { return false; }
  // A position where a block ends early because the rows behind it select otherwise; kNoCut: none.
  virtual int64_t cut(const SelectInput&) const { return select::kNoCut; }
  // For every chunk inside `shape`. Monotone in its sizes.
  virtual SelectBound bound(const SelectShape& shape) const = 0;

  static constexpr int kMostPhases = 8;
  virtual int phases() const { return 1; }  // <= kMostPhases
  virtual int64_t count(int phase, const SelectInput& in) const = 0;
  // One item of a phase, by any thread and in any order. Key sets that no phase writes are empty:
  // their rows read nothing, which gives 0. False fails the step.
  virtual bool run(int phase, int64_t item, const SelectInput& in, const SelectScratch& scratch,
                   select::KeySetTable& out) const = 0;
};

}  // namespace heed
