// Rows of bits against a plain array of bools.
#include "select/bit_rows.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace heed::select {
namespace {

std::vector<uint64_t> random_row(Random& random, int bits) {
  std::vector<uint64_t> row(static_cast<size_t>(words_for(bits)));
  for (int i = 0; i < bits;) {  // runs, so that whole words of ones and zeros occur
    const int n = std::min(bits - i, 1 + static_cast<int>(random.below(150)));
    if (random.below(2) == 0) set_bits(row.data(), i, i + n);
    i += n;
  }
  return row;
}

TEST(BitRows, set_bits_sets_exactly_those) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    const int bits = 1 + static_cast<int>(random.below(300));
    std::vector<uint64_t> row(static_cast<size_t>(words_for(bits)));
    std::vector<bool> plain(static_cast<size_t>(bits));
    for (int k = 0; k < 3; ++k) {
      const int begin = static_cast<int>(random.below(bits + 1));
      const int end = begin + static_cast<int>(random.below(bits - begin + 1));
      set_bits(row.data(), begin, end);
      for (int i = begin; i < end; ++i) plain[static_cast<size_t>(i)] = true;
    }
    int64_t ones = 0;
    for (int i = 0; i < bits; ++i) {
      ASSERT_EQ(bit(row.data(), i), plain[static_cast<size_t>(i)]) << bits << " bits, " << i;
      ones += plain[static_cast<size_t>(i)];
    }
    EXPECT_EQ(count_bits(row.data(), words_for(bits)), ones);
  }
}

TEST(BitRows, runs_cover_the_ones_and_are_longest) {
  Random random(2);
  for (int round = 0; round < 200; ++round) {
    const int bits = 1 + static_cast<int>(random.below(400));
    const std::vector<uint64_t> row = random_row(random, bits);
    std::vector<uint64_t> again(row.size());
    int64_t last = -1;
    EXPECT_TRUE(for_each_run(row.data(), bits, [&](int64_t begin, int64_t len) {
      EXPECT_GT(begin, last);
      EXPECT_GT(len, 0);
      set_bits(again.data(), begin, begin + len);
      last = begin + len;
      return true;
    }));
    EXPECT_EQ(again, row);
    int calls = 0;
    for_each_run(row.data(), bits, [&](int64_t, int64_t) { return ++calls < 1; });
    EXPECT_LE(calls, 1);
  }
}

TEST(BitRows, transposed_is_turned_and_twice_is_the_same) {
  Random random(3);
  for (int round = 0; round < 60; ++round) {
    const auto rows = 1 + static_cast<int32_t>(random.below(200));
    const auto columns = 1 + static_cast<int32_t>(random.below(200));
    const int64_t wide = words_for(columns) + 1, high = words_for(rows) + 2;
    std::vector<uint64_t> a(static_cast<size_t>(rows * wide), 0);
    std::vector<uint64_t> b(static_cast<size_t>(columns * high), ~uint64_t{0});
    std::vector<uint64_t> c(a.size(), ~uint64_t{0});
    const BitMatrix in{a.data(), rows, columns, wide}, turned{b.data(), columns, rows, high},
        back{c.data(), rows, columns, wide};
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t i = 0; i < columns; ++i) {
        if (random.below(3) == 0) set_bits(in.row(r), i, i + 1);
      }
    }
    transpose(in, turned);
    transpose(turned, back);
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t i = 0; i < columns; ++i) ASSERT_EQ(in.at(r, i), turned.at(i, r));
      for (int64_t w = 0; w < words_for(columns); ++w) ASSERT_EQ(in.row(r)[w], back.row(r)[w]);
    }
  }
}

}  // namespace
}  // namespace heed::select
