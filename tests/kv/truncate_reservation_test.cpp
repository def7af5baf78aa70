// What truncate reserves for its copies is there when it takes them, although cutting other lists
// empties arenas meanwhile.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kv/arena_source.h"
#include "store_model.h"

namespace heed::test {
namespace {

// Four pages of this store to an arena.
class SmallArenas final : public kv::ArenaSource {
 public:
  void* map(size_t bytes) override {
    void* memory = std::aligned_alloc(64, bytes);
    if (memory) std::memset(memory, 0, bytes);
    return memory;
  }
  void unmap(void* memory, size_t) override { std::free(memory); }
  size_t arena_bytes() const override { return 4096; }
};

constexpr int kHeads = 16, kTokens = 14 * 64 + 20;

void append(Store& store, SeqId seq, int n) {
  ASSERT_TRUE(store.begin_append(seq, n).is_ok());
  std::vector<uint64_t> ids(n);
  for (int i = 0; i < n; ++i) ids[i] = i;
  append_all(store, seq, ids);
  store.commit(seq);
}

// Every head but the first: tokens before `from` lie below any cut.
void lower_positions(Store& store, SeqId seq, int from) {
  for (int h = 1; h < kHeads; ++h) {
    const auto position = store.side_array(seq, 0, h, SideArray::kPosition);
    ASSERT_TRUE(position.is_ok()) << position.message();
    for (int i = 0; i < kTokens; ++i) {
      static_cast<int32_t*>(*position)[i] = i < from ? i - 2 * kTokens : i;
    }
  }
}

TEST(TruncateReservation, copies_survive_the_trimming_that_another_list_causes) {
  for (int filler = 0; filler < 4; ++filler) {  // wherever the arenas' borders lie
    StoreDesc desc;
    desc.layers = {{kHeads, 2, 2, Format::kF32, Format::kF32}};
    desc.isa = test_isa();
    auto made = Store::create(desc, std::make_unique<SmallArenas>());
    ASSERT_TRUE(made.is_ok()) << made.message();
    Store& store = **made;
    const SeqId base = *store.create_sequence();
    append(store, base, kTokens);
    for (int i = 0; i < filler; ++i) append(store, *store.create_sequence(), 64 * (1 + i));
    lower_positions(store, base, kTokens);
    const SeqId other = *store.fork(base);
    lower_positions(store, other, kTokens - 10);
    // `other` becomes the only holder of the first head's pages; the other heads stay shared.
    ASSERT_TRUE(store.truncate(base, 1).is_ok());
    ASSERT_EQ(store.lists(base, 0)[1].len, kTokens);

    // The first head lets 14 pages go, the others copy a page each and let none go.
    ASSERT_TRUE(store.truncate(other, 10).is_ok());
    const Status sound = store.check();
    ASSERT_TRUE(sound.is_ok()) << sound.message();
    EXPECT_EQ(store.lists(other, 0)[0].len, 10);
    for (int h = 1; h < kHeads; ++h) {
      EXPECT_EQ(store.lists(other, 0)[h].len, kTokens - 10);
      EXPECT_EQ(store.lists(base, 0)[h].len, kTokens);
    }
  }
}

}  // namespace
}  // namespace heed::test
