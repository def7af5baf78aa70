#include "select/key_set.h"

#include <algorithm>
#include <limits>
#include <new>

#include "base/checked.h"
#include "base/guard.h"

namespace heed::select {

bool KeySetWriter::add(KeyRange range) {
  if (range.len < 1 || range.begin < 0 ||
      range.begin > std::numeric_limits<int32_t>::max() - range.len) {
    return false;
  }
  if (counts_->ranges > 0) {
    KeyRange& last = ranges_[static_cast<size_t>(counts_->ranges - 1)];
    if (range.begin >= last.begin && range.begin <= last.end()) {
      last.len = std::max(last.end(), range.end()) - last.begin;
      return true;
    }
  }
  if (static_cast<size_t>(counts_->ranges) >= ranges_.size()) return false;
  ranges_[static_cast<size_t>(counts_->ranges++)] = range;
  return true;
}

bool KeySetWriter::add_column(int32_t slot) {
  const auto n = static_cast<size_t>(counts_->columns);
  if (slot < 0 || n >= columns_.size() || (n > 0 && slot <= columns_[n - 1])) return false;
  columns_[n] = slot;
  ++counts_->columns;
  return true;
}

bool KeySetWriter::set_band(int64_t keys) {
  if (!bands_ || keys < 0) return false;
  counts_->band = keys;
  return true;
}

bool KeySetWriter::set_columns(int32_t n) {
  if (n < 0 || static_cast<size_t>(n) > columns_.size()) return false;
  counts_->columns = n;
  return true;
}

Result<uint64_t> KeySetTable::bytes_of(int sets, int blocks, SetBound bound) {
  if (sets < 0 || blocks < 0 || bound.ranges < 0 || bound.columns < 0) {
    return error(Code::kInternal, "key sets [", sets, ", ", blocks, "] of ", bound.ranges,
                 " ranges and ", bound.columns, " columns: a number is negative");
  }
  const uint64_t one = sizeof(KeySetWriter::Counts) +
                       static_cast<uint64_t>(bound.ranges) * sizeof(KeyRange) +
                       static_cast<uint64_t>(bound.columns) * sizeof(int32_t);
  const uint64_t all = static_cast<uint64_t>(sets) * static_cast<uint64_t>(blocks);
  return checked_mul<uint64_t>(all, one, "key sets");
}

Status KeySetTable::reserve(int sets, int blocks, SetBound bound) {
  HEED_ASSIGN(const uint64_t bytes, bytes_of(sets, blocks, bound));
  const size_t all = static_cast<size_t>(sets) * static_cast<size_t>(blocks);
  try {
    counts_.reserve(all);
    if (all * static_cast<size_t>(bound.ranges) > ranges_.size()) {
      ranges_.resize(all * static_cast<size_t>(bound.ranges));
    }
    if (all * static_cast<size_t>(bound.columns) > columns_.size()) {
      columns_.resize(all * static_cast<size_t>(bound.columns));
    }
  } catch (const std::exception&) {
    return exhausted("no memory for key sets of ", bytes, " bytes; use a smaller chunk");
  }
  bound_ = bound;
  return {};
}

void KeySetTable::shape(int sets, int blocks) {
  blocks_ = blocks;
  counts_.assign(static_cast<size_t>(sets) * static_cast<size_t>(blocks), {});
}

size_t KeySetTable::index(int set, int block) const {
  return static_cast<size_t>(set) * static_cast<size_t>(blocks_) + static_cast<size_t>(block);
}

KeySetWriter KeySetTable::writer(int set, int block) {
  const size_t i = index(set, block);
  const auto ranges = static_cast<size_t>(bound_.ranges);
  const auto columns = static_cast<size_t>(bound_.columns);
  return {counts_[i],
          {ranges_.data() + i * ranges, ranges},
          {columns_.data() + i * columns, columns},
          bound_.bands};
}

KeySet KeySetTable::at(int set, int block) const {
  const size_t i = index(set, block);
  const KeySetWriter::Counts& counts = counts_[i];
  return {
      {ranges_.data() + i * static_cast<size_t>(bound_.ranges), static_cast<size_t>(counts.ranges)},
      {columns_.data() + i * static_cast<size_t>(bound_.columns),
       static_cast<size_t>(counts.columns)},
      counts.band};
}

bool unite(const KeySet& a, const KeySet& b, KeySetWriter& out) {
  out.clear();
  size_t i = 0, j = 0;
  while (i < a.ranges.size() || j < b.ranges.size()) {
    const bool first =
        j == b.ranges.size() || (i < a.ranges.size() && a.ranges[i].begin <= b.ranges[j].begin);
    if (!out.add(first ? a.ranges[i++] : b.ranges[j++])) return false;
  }
  size_t r = 0;
  i = j = 0;
  while (i < a.columns.size() || j < b.columns.size()) {
    const bool first =
        j == b.columns.size() || (i < a.columns.size() && a.columns[i] <= b.columns[j]);
    const int32_t slot = first ? a.columns[i] : b.columns[j];
    while (i < a.columns.size() && a.columns[i] == slot) ++i;
    while (j < b.columns.size() && b.columns[j] == slot) ++j;
    const std::span<const KeyRange> ranges = out.view().ranges;
    while (r < ranges.size() && ranges[r].end() <= slot) ++r;
    if (r < ranges.size() && ranges[r].begin <= slot) continue;
    if (!out.add_column(slot)) return false;
  }
  const int64_t band = std::max(a.band, b.band);
  return band == 0 || out.set_band(band);
}

bool clip(const KeySet& a, int32_t first, int32_t end, KeySetWriter& out) {
  out.clear();
  for (const KeyRange& range : a.ranges) {
    const int32_t begin = std::max(range.begin, first), stop = std::min(range.end(), end);
    if (begin < stop && !out.add({begin, stop - begin})) return false;
  }
  for (const int32_t slot : a.columns) {
    if (slot >= first && slot < end && !out.add_column(slot)) return false;
  }
  return a.band == 0 || out.set_band(a.band);
}

}  // namespace heed::select
