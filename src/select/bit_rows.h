// Rows of bits in 64-bit words: slots of a list (one word a page) or blocks of a map. Bits behind
// the last column are zero in what these functions make.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace heed::select {

inline constexpr int kWordBits = 64;

constexpr int64_t words_for(int64_t bits) { return (bits + kWordBits - 1) / kWordBits; }

// Bits [first, end) of one word; either may lie outside 0..64.
constexpr uint64_t word_range(int64_t first, int64_t end) {
  first = std::max<int64_t>(first, 0);
  end = std::min<int64_t>(end, kWordBits);
  if (first >= end) return 0;
  return (~uint64_t{0} << first) & (~uint64_t{0} >> (kWordBits - end));
}

// Sets bits [begin, end) of a row that has them.
inline void set_bits(uint64_t* row, int64_t begin, int64_t end) {
  if (begin >= end) return;
  const int64_t first = begin / kWordBits, last = (end - 1) / kWordBits;
  if (first == last) {
    row[first] |= word_range(begin - first * kWordBits, end - first * kWordBits);
    return;
  }
  row[first] |= ~uint64_t{0} << (begin % kWordBits);
  std::fill(row + first + 1, row + last, ~uint64_t{0});
  row[last] |= word_range(0, end - last * kWordBits);
}

inline bool bit(const uint64_t* row, int64_t i) { return (row[i / kWordBits] >> (i % 64)) & 1; }

inline int64_t count_bits(const uint64_t* row, int64_t words) {
  int64_t n = 0;
  for (int64_t w = 0; w < words; ++w) n += std::popcount(row[w]);
  return n;
}

// Calls fn(begin, len) for every run of ones among the first `bits` bits, in order, as long as it
// returns true. Returns whether it always did.
template <class Fn>
bool for_each_run(const uint64_t* row, int64_t bits, const Fn& fn) {
  for (int64_t at = 0; at < bits;) {
    uint64_t word = row[at / kWordBits] >> (at % kWordBits);
    if (word == 0) {
      at = (at / kWordBits + 1) * kWordBits;
      continue;
    }
    at += std::countr_zero(word);
    const int64_t begin = at;
    for (; at < bits; at = (at / kWordBits + 1) * kWordBits) {
      word = row[at / kWordBits] >> (at % kWordBits);
      const int64_t ones = std::countr_one(word);
      if (ones < kWordBits - at % kWordBits) {
        at += ones;
        break;
      }
    }
    at = std::min(at, bits);
    if (begin < bits && !fn(begin, at - begin)) return false;
  }
  return true;
}

// A borrowed matrix of bits, row r at data + r * stride words.
struct BitMatrix {
  uint64_t* data = nullptr;
  int32_t rows = 0, columns = 0;
  int64_t stride = 0;

  uint64_t* row(int64_t r) const { return data + r * stride; }
  bool at(int64_t r, int64_t c) const { return bit(row(r), c); }
};

// out [columns, rows] = in [rows, columns] turned: which query blocks read a key block. `out` has
// room for that and does not overlap `in`.
void transpose(const BitMatrix& in, const BitMatrix& out);

}  // namespace heed::select
