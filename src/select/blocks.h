// Query blocks: rows that share a key set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace heed::select {

inline constexpr int64_t kNoCut = std::numeric_limits<int64_t>::min();

// The part of a block that a chunk holds, and the whole block in absolute positions. What is
// decided for the whole block does not depend on where chunks begin.
struct QueryBlock {
  int32_t row = 0;  // of the sequence's rows in this chunk
  int32_t rows = 0;
  int64_t first = 0;  // positions [first, end) of the whole block
  int64_t end = 0;
};

// The block of the row at `position`: blocks begin at multiples of `size` and at `cut`.
inline QueryBlock whole_block(int64_t position, int size, int64_t cut) {
  QueryBlock block;
  block.first = position - ((position % size) + size) % size;
  block.end = block.first + size;
  if (cut > block.first && cut < block.end) {
    (position < cut ? block.end : block.first) = cut;
  }
  return block;
}

// The block of a chunk of `rows` rows from position `pos0` on to which row `row` belongs.
inline QueryBlock block_at(int64_t pos0, int32_t rows, int32_t row, int size, int64_t cut) {
  QueryBlock block = whole_block(pos0 + row, size, cut);
  block.row = static_cast<int32_t>(std::max<int64_t>(0, block.first - pos0));
  block.rows = static_cast<int32_t>(std::min<int64_t>(rows, block.end - pos0)) - block.row;
  return block;
}

// Calls fn(block) for each block of a chunk, in order.
template <class Fn>
void for_each_block(int64_t pos0, int32_t rows, int size, int64_t cut, const Fn& fn) {
  for (int32_t row = 0; row < rows;) {
    const QueryBlock block = block_at(pos0, rows, row, size, cut);
    fn(block);
    row = block.row + block.rows;
  }
}

// Blocks that a chunk of so many rows may touch, wherever it begins.
constexpr int most_blocks(int32_t rows, int size) {
  return rows < 1 ? 0 : (rows + size - 2) / size + 2;
}

}  // namespace heed::select
