// The n-th allocation fails, n = 1, 2, 3 ... until the operation succeeds: every failure is an
// error that leaves the store as it was and usable (reliability requirement 23).
#include "counting_heap.h"

#include <cstdlib>
#include <cstring>
#include <functional>

#include "kv/arena_source.h"
#include "store_model.h"

namespace heed::test {
namespace {

// Tiny arenas (four pages or so) whose n-th request fails.
class FailingArenas final : public kv::ArenaSource {
 public:
  // `left` requests succeed until one fails; below 0 none does.
  FailingArenas(std::atomic<int64_t>* left, int64_t* mapped) : left_(left), mapped_(mapped) {}
  void* map(size_t bytes) override {
    if (*left_ >= 0 && (*left_)-- == 0) return nullptr;
    void* memory = std::aligned_alloc(64, bytes);
    if (memory) std::memset(memory, 0, bytes);
    if (memory) *mapped_ += static_cast<int64_t>(bytes);
    return memory;
  }
  void unmap(void* memory, size_t bytes) override {
    *mapped_ -= static_cast<int64_t>(bytes);
    std::free(memory);
  }
  size_t arena_bytes() const override { return 16384; }

 private:
  std::atomic<int64_t>* left_;
  int64_t* mapped_;
};

class Faults : public ::testing::Test {
 protected:
  void SetUp() override {
    StoreDesc desc;
    desc.layers = {{2, 16, 16, Format::kBf16, Format::kBf16},
                   {1, 8, 8, Format::kF32, Format::kF16}};
    desc.isa = test_isa();
    auto store = Store::create(desc, std::make_unique<FailingArenas>(&arenas_left_, &mapped_));
    ASSERT_TRUE(store.is_ok()) << store.message();
    store_ = std::move(*store);
    base_ = *store_->create_sequence();
    append(base_, 90);
    ASSERT_TRUE(store_->side_array(base_, 0, 1, SideArray::kPosition).is_ok());
    ASSERT_TRUE(store_->side_array(base_, 1, 0, SideArray::kLive).is_ok());
    other_ = *store_->fork(base_);
  }

  void append(SeqId seq, int n) {
    ASSERT_TRUE(store_->begin_append(seq, n).is_ok());
    std::vector<uint64_t> ids(n);
    for (int i = 0; i < n; ++i) ids[i] = i;
    append_all(*store_, seq, ids);
    store_->commit(seq);
  }

  // Repeats `operation` with the 1st, 2nd ... request of `counter` failing until it succeeds; says
  // how many failures it saw. A lasting shortage of the heap fails all requests behind that too.
  int fail_each(std::atomic<int64_t>* counter, const std::function<Status()>& operation,
                bool lasting = false) {
    int failures = 0;
    for (int n = 0; n < 1000; ++n) {
      const StoreBytes before = store_->bytes();
      shortage_lasts = lasting;
      *counter = n;
      const Status status = operation();
      const bool fired = *counter == (lasting ? 0 : -1);
      *counter = -1;
      shortage_lasts = false;
      const Status sound = store_->check();
      EXPECT_TRUE(sound.is_ok()) << sound.message();
      if (status.is_ok()) {
        EXPECT_FALSE(fired && !lasting) << "request " << n << " failed unnoticed";
        return failures;
      }
      EXPECT_TRUE(fired) << status.message();
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
      const StoreBytes after = store_->bytes();
      EXPECT_EQ(after.committed, before.committed);
      EXPECT_EQ(after.live, before.live);
      EXPECT_EQ(after.pages, before.pages);
      // A class may keep one empty arena in hand: 16 KiB and 24 KiB here.
      EXPECT_LE(after.arenas, before.arenas + 40960);
      ++failures;
    }
    ADD_FAILURE() << "never succeeds";
    return failures;
  }

  std::atomic<int64_t> arenas_left_{-1};
  int64_t mapped_ = 0;
  std::unique_ptr<Store> store_;
  SeqId base_ = 0, other_ = 0;
};

TEST_F(Faults, begin_append_survives_every_allocation) {
  const auto operation = [&] { return store_->begin_append(other_, 700); };
  // Page tables of three lists, two side arrays and the growth records, then the arenas.
  EXPECT_GE(fail_each(&allocations_left, operation), 6);
  store_->abort(other_);
  const StoreBytes before = store_->bytes();
  EXPECT_GE(fail_each(&arenas_left_, [&] { return store_->begin_append(other_, 2000); }), 3);
  store_->abort(other_);
  EXPECT_EQ(store_->bytes().pages, before.pages);
  append(other_, 100);
  EXPECT_EQ(store_->length(other_), 190);
}

TEST_F(Faults, fork_survives_every_allocation) {
  EXPECT_GE(fail_each(&allocations_left, [&] { return store_->fork(base_).status(); }), 8);
}

TEST_F(Faults, create_sequence_survives_every_allocation) {
  EXPECT_GE(fail_each(&allocations_left, [&] { return store_->create_sequence().status(); }), 3);
}

TEST_F(Faults, side_array_survives_every_allocation) {
  EXPECT_GE(fail_each(&allocations_left,
                      [&] { return store_->side_array(base_, 0, 0, SideArray::kBias).status(); }),
            1);
}

TEST_F(Faults, a_lasting_shortage_is_an_error_too) {
  // Nothing is left for the message either.
  const auto fork = [&] { return store_->fork(base_).status(); };
  const auto create = [&] { return store_->create_sequence().status(); };
  const auto bias = [&] { return store_->side_array(base_, 0, 0, SideArray::kBias).status(); };
  EXPECT_GE(fail_each(&allocations_left, fork, true), 8);
  EXPECT_GE(fail_each(&allocations_left, create, true), 3);
  EXPECT_GE(fail_each(&allocations_left, bias, true), 1);
  EXPECT_GE(fail_each(
                &allocations_left, [&] { return store_->begin_append(other_, 700); }, true),
            6);
}

TEST_F(Faults, what_a_step_calls_inside_its_graph_allocates_nothing) {
  for (int n : {1, 40, 200}) {
    ASSERT_TRUE(store_->begin_append(base_, n).is_ok());
    std::vector<Rows> rows;
    for (size_t l = 0; l < store_->desc().layers.size(); ++l) {
      rows.push_back(
          make_rows(store_->desc().layers[l], static_cast<int>(l), std::vector<uint64_t>(n, 7), 0));
    }
    const int64_t before = allocations;
    for (int members : {1, 3}) {
      for (size_t l = 0; l < rows.size(); ++l) {
        for (int m = 0; m < members; ++m) {
          store_->append(base_, static_cast<int>(l), rows[l].k_view, rows[l].v_view, m, members);
        }
      }
    }
    store_->append_rows(base_, 0, 1, n - 1, 1, rows[0].k.data(), 16, rows[0].v.data(), 16);
    store_->commit(base_);
    EXPECT_EQ(allocations, before);
    ASSERT_TRUE(store_->begin_append(base_, n).is_ok());
    const int64_t open = allocations;
    store_->abort(base_);
    EXPECT_EQ(allocations, open);
  }
  EXPECT_GT(allocations, 10) << "nothing is counted";
}

TEST_F(Faults, truncate_into_shared_pages_survives_every_arena_failure) {
  // Wherever the arenas' borders lie, some fill makes the copies need a new one.
  const SeqId filler = *store_->create_sequence();
  int failures = 0;
  for (int i = 0; i < 16; ++i) {
    append(filler, 64);
    const SeqId cut = *store_->fork(base_);
    failures += fail_each(&arenas_left_, [&] { return store_->truncate(cut, 10); });
    EXPECT_EQ(store_->length(cut), 10);
    ASSERT_TRUE(store_->drop(cut).is_ok());
  }
  EXPECT_GE(failures, 2);
  EXPECT_EQ(store_->length(base_), 90);
}

TEST_F(Faults, creating_a_store_survives_every_allocation) {
  const StoreDesc desc = store_->desc();
  const auto operation = [&]() -> Status {
    std::atomic<int64_t> none{-1};
    int64_t mapped = 0;
    return Store::create(desc, std::make_unique<FailingArenas>(&none, &mapped)).status();
  };
  int failures = 0;
  for (int n = 1; n < 1000; ++n) {  // the first allocation is the test's own arena source
    allocations_left = n;
    const Status status = operation();
    allocations_left = -1;
    if (status.is_ok()) break;
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    ++failures;
  }
  EXPECT_GE(failures, 3);
}

TEST_F(Faults, everything_is_returned_at_the_end) {
  append(other_, 3000);
  ASSERT_TRUE(store_->drop(other_).is_ok());
  ASSERT_TRUE(store_->begin_append(base_, 500).is_ok());
  store_.reset();  // with an open transaction
  EXPECT_EQ(mapped_, 0);
}

}  // namespace
}  // namespace heed::test
