#include "select/bit_rows.h"

namespace heed::select {
namespace {

// A 64 x 64 block of bits turned in place: quarters change places, then their quarters.
void transpose_block(uint64_t* block) {
  uint64_t mask = 0x00000000FFFFFFFFull;
  for (int half = kWordBits / 2; half > 0; half /= 2, mask ^= mask << half) {
    for (int i = 0; i < kWordBits; i = (i + half + 1) & ~half) {
      const uint64_t swap = ((block[i] >> half) ^ block[i + half]) & mask;
      block[i] ^= swap << half;
      block[i + half] ^= swap;
    }
  }
}

}  // namespace

void transpose(const BitMatrix& in, const BitMatrix& out) {
  for (int64_t r = 0; r < words_for(in.rows); ++r) {
    const int64_t rows = std::min<int64_t>(kWordBits, in.rows - r * kWordBits);
    for (int64_t c = 0; c < words_for(in.columns); ++c) {
      const int64_t columns = std::min<int64_t>(kWordBits, in.columns - c * kWordBits);
      uint64_t block[kWordBits] = {};
      for (int64_t i = 0; i < rows; ++i) block[i] = in.row(r * kWordBits + i)[c];
      transpose_block(block);
      for (int64_t j = 0; j < columns; ++j) {
        out.row(c * kWordBits + j)[r] = block[j] & word_range(0, rows);
      }
    }
  }
}

}  // namespace heed::select
