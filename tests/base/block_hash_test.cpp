#include "base/block_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/random.h"

namespace heed {
namespace {

std::vector<uint8_t> bytes_of(size_t n) {
  std::vector<uint8_t> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(random_below(7, i, 256));
  return out;
}

TEST(BlockHash, every_flipped_bit_changes_both_halves) {
  for (const size_t n : {1, 7, 64, 200, 1024}) {
    std::vector<uint8_t> data = bytes_of(n);
    const Hash128 whole = block_hash(data.data(), n);
    for (size_t bit = 0; bit < 8 * n; ++bit) {
      data[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      const Hash128 flipped = block_hash(data.data(), n);
      EXPECT_NE(flipped.low, whole.low) << n << " " << bit;
      EXPECT_NE(flipped.high, whole.high) << n << " " << bit;
      data[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    }
  }
}

TEST(BlockHash, lengths_and_roles_are_part_of_it) {
  const std::vector<uint8_t> zeros(300);
  std::set<std::string> seen;
  for (size_t n = 0; n <= zeros.size(); ++n) {
    for (const uint64_t role : {0, 1, 6}) {
      EXPECT_TRUE(seen.insert(to_hex(block_hash(zeros.data(), n, role))).second) << n;
    }
  }
}

TEST(BlockHash, pieces_make_no_difference) {
  const std::vector<uint8_t> data = bytes_of(1000);
  const Hash128 whole = block_hash(data.data(), data.size(), 3);
  for (const size_t piece : {1, 3, 63, 64, 65, 128, 999}) {
    BlockHash hash(3);
    for (size_t at = 0; at < data.size(); at += piece) {
      hash.update(data.data() + at, std::min(piece, data.size() - at));
    }
    EXPECT_EQ(hash.finish(), whole) << piece;
  }
}

TEST(BlockHash, words_that_change_places_are_seen) {
  std::vector<uint8_t> data = bytes_of(256);
  const Hash128 whole = block_hash(data.data(), data.size());
  for (size_t a = 0; a < 32; ++a) {
    for (size_t b = 0; b < a; ++b) {
      std::vector<uint8_t> other = data;
      std::swap_ranges(other.begin() + 8 * a, other.begin() + 8 * a + 8, other.begin() + 8 * b);
      EXPECT_NE(block_hash(other.data(), other.size()), whole) << a << " " << b;
    }
  }
}

// Files are read by later programs.
TEST(BlockHash, its_values_stay) {
  EXPECT_EQ(to_hex(block_hash("", 0)), "d6134e7b6fda6019e6f3ec2e0d424a1b");
  EXPECT_EQ(to_hex(block_hash("heed", 4)), "64599420cf31c65265837e347b8d2b15");
}

}  // namespace
}  // namespace heed
