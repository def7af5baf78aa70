// Key sets against std::set, and what a table refuses.
#include "select/key_set.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace heed::select {
namespace {

std::multiset<int> members(const KeySet& keys) {
  std::multiset<int> all(keys.columns.begin(), keys.columns.end());
  for (const KeyRange& range : keys.ranges) {
    for (int i = range.begin; i < range.end(); ++i) all.insert(i);
  }
  return all;
}

struct RandomSet {
  std::vector<KeyRange> ranges;
  std::vector<int32_t> columns;
  int64_t band = 0;

  RandomSet(Random& random, int slots) {
    for (int at = static_cast<int>(random.below(20)); at < slots;) {
      const auto len = 1 + static_cast<int>(random.below(30));
      ranges.push_back({at, len});
      at += len + static_cast<int>(random.below(60));
    }
    for (int slot = 0; slot < slots; ++slot) {
      if (random.below(9) == 0) columns.push_back(slot);
    }
    band = static_cast<int64_t>(random.below(3)) * 40;
  }
  KeySet view() const { return {ranges, columns, band}; }
};

TEST(KeySets, union_has_each_key_of_either_once) {
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    const RandomSet a(random, 300), b(random, 300);
    KeySetTable table;
    ASSERT_TRUE(table.reserve(1, 1, {60, 200, true}).is_ok());
    table.shape(1, 1);
    KeySetWriter out = table.writer(0, 0);
    ASSERT_TRUE(unite(a.view(), b.view(), out));
    std::set<int> want;
    for (const RandomSet* s : {&a, &b}) {
      for (int i : members(s->view())) want.insert(i);
    }
    const KeySet got = table.at(0, 0);
    EXPECT_EQ(members(got), std::multiset<int>(want.begin(), want.end()));
    EXPECT_EQ(got.band, std::max(a.band, b.band));
    for (size_t i = 1; i < got.ranges.size(); ++i) {
      EXPECT_GT(got.ranges[i].begin, got.ranges[i - 1].end());
    }
    for (size_t i = 1; i < got.columns.size(); ++i) {
      EXPECT_GT(got.columns[i], got.columns[i - 1]);
    }
  }
}

TEST(KeySets, clipped_keeps_what_lies_inside) {
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const RandomSet a(random, 300);
    KeySetTable table;
    ASSERT_TRUE(table.reserve(1, 1, {60, 200, true}).is_ok());
    table.shape(1, 1);
    KeySetWriter out = table.writer(0, 0);
    const int first = static_cast<int>(random.below(300));
    const int end = first + static_cast<int>(random.below(100));
    ASSERT_TRUE(clip(a.view(), first, end, out));
    std::multiset<int> want;
    for (int i : members(a.view())) {
      if (i >= first && i < end) want.insert(i);
    }
    EXPECT_EQ(members(table.at(0, 0)), want);
  }
}

TEST(KeySets, what_does_not_fit_is_refused_and_its_neighbours_stay) {
  KeySetTable table;
  ASSERT_TRUE(table.reserve(2, 2, {2, 3, false}).is_ok());
  table.shape(2, 2);
  ASSERT_TRUE(table.writer(1, 0).add({7, 1}));
  KeySetWriter full = table.writer(0, 1);
  EXPECT_TRUE(full.add({0, 4}));
  EXPECT_TRUE(full.add({4, 4})) << "adjacent: one range";
  EXPECT_TRUE(full.add({10, 1}));
  EXPECT_FALSE(full.add({20, 1}));
  EXPECT_FALSE(full.add({-1, 1}));
  EXPECT_FALSE(full.add({1, 0}));
  EXPECT_FALSE(full.add({2147483647, 1}));
  EXPECT_TRUE(full.add_column(3));
  EXPECT_FALSE(full.add_column(3)) << "columns ascend";
  EXPECT_TRUE(full.add_column(5));
  EXPECT_TRUE(full.add_column(6));
  EXPECT_FALSE(full.add_column(7));
  EXPECT_FALSE(full.set_columns(4));
  EXPECT_FALSE(full.set_band(1));
  EXPECT_EQ(table.at(0, 1).ranges.size(), 2u);
  EXPECT_EQ(table.at(0, 1).ranges[0], (KeyRange{0, 8}));
  EXPECT_EQ(table.at(1, 0).ranges[0], (KeyRange{7, 1}));
  EXPECT_TRUE(table.at(1, 1).ranges.empty());
  KeySetWriter small = table.writer(1, 1);
  const RandomSet many = [] {
    Random random(6);
    return RandomSet(random, 300);
  }();
  EXPECT_FALSE(unite(many.view(), many.view(), small));
}

}  // namespace
}  // namespace heed::select
