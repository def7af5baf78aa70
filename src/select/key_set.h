// What the rows of a query block read: a key set, and the table that holds those of a layer.
//
// Slots count from the start of a list. Who fills a table neither allocates nor throws: the
// capacity of every set is reserved before the graph, and what does not fit is refused.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/status.h"

namespace heed::select {

// Slots [begin, begin + len), len > 0; begin need not be a multiple of the page.
struct KeyRange {
  int32_t begin = 0;
  int32_t len = 0;

  int32_t end() const { return begin + len; }
  bool operator==(const KeyRange&) const = default;
};

// Every row at position p of the block reads the ranges, the columns and, with a band, the keys at
// positions (p - band, p], each key once (G6). Bands are for causal attention.
struct KeySet {
  std::span<const KeyRange> ranges;
  std::span<const int32_t> columns;  // single slots, ascending; they may lie inside a range
  int64_t band = 0;                  // keys; 0: none
};

// Capacity of one key set.
struct SetBound {
  int32_t ranges = 0;
  int32_t columns = 0;
  bool bands = false;  // whether KeySet::band is ever set
};

// Writes one key set of a table.
class KeySetWriter {
 public:
  struct Counts {
    int32_t ranges = 0, columns = 0;
    int64_t band = 0;
  };

  KeySetWriter(Counts& counts, std::span<KeyRange> ranges, std::span<int32_t> columns, bool bands)
      : counts_(&counts), ranges_(ranges), columns_(columns), bands_(bands) {}

  void clear() { *counts_ = {}; }
  // False when the set is full or the range is empty or begins below 0. A range that begins where
  // the last one ends, or inside it, makes that one longer.
  bool add(KeyRange range);
  // False when the set is full or the slot is not above the last one.
  bool add_column(int32_t slot);
  // False when the table has no bands or it is negative.
  bool set_band(int64_t keys);
  // Where columns are made in bulk: all the room there is; then their number.
  std::span<int32_t> columns() { return columns_; }
  bool set_columns(int32_t n);

  KeySet view() const {
    return {ranges_.first(static_cast<size_t>(counts_->ranges)),
            columns_.first(static_cast<size_t>(counts_->columns)), counts_->band};
  }

 private:
  Counts* counts_;
  std::span<KeyRange> ranges_;
  std::span<int32_t> columns_;
  bool bands_;
};

// Key sets [sets, blocks] of one layer and chunk, where a set is that of a query head or of a KV
// group.
class KeySetTable {
 public:
  // Room for so many. Errors: memory, sizes that overflow; then it is as it was.
  Status reserve(int sets, int blocks, SetBound bound);
  // What that takes. Errors: sizes that overflow.
  static Result<uint64_t> bytes_of(int sets, int blocks, SetBound bound);

  // The shape at hand, inside what was reserved; every set is empty.
  void shape(int sets, int blocks);
  KeySetWriter writer(int set, int block);
  KeySet at(int set, int block) const;
  SetBound bound() const { return bound_; }

 private:
  size_t index(int set, int block) const;

  int blocks_ = 0;
  SetBound bound_;
  std::vector<KeySetWriter::Counts> counts_;
  std::vector<KeyRange> ranges_;
  std::vector<int32_t> columns_;
};

// out = a and b together: ranges sorted, disjoint and apart, columns outside of them, each once;
// the wider band. `a` and `b` have sorted ranges; `out` is neither's memory. False when `out` is
// too small.
bool unite(const KeySet& a, const KeySet& b, KeySetWriter& out);
// out = what of `a`, whose ranges are sorted, lies in slots [first, end); the band as it is. False
// when `out` is too small.
bool clip(const KeySet& a, int32_t first, int32_t end, KeySetWriter& out);

}  // namespace heed::select
