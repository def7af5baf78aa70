// StoreBytes against what the store really took, measured outside it: the heap of this program and
// the arenas that it asked for.
#include <array>
#include <cstdlib>
#include <cstring>

#include "heap_counters.h"
#include "kv/arena_source.h"
#include "store_model.h"

namespace heed::test {
namespace {

class CountedArenas final : public kv::ArenaSource {
 public:
  CountedArenas(uint64_t* mapped, uint64_t* peak) : mapped_(mapped), peak_(peak) {}
  void* map(size_t bytes) override {
    void* memory = std::aligned_alloc(64, bytes);
    if (memory == nullptr) return nullptr;
    std::memset(memory, 0, bytes);
    *mapped_ += bytes;
    *peak_ = std::max(*peak_, *mapped_ / bytes);
    return memory;
  }
  void unmap(void* memory, size_t bytes) override {
    *mapped_ -= bytes;
    std::free(memory);
  }
  size_t arena_bytes() const override { return 128 * 1024; }

 private:
  uint64_t* mapped_;
  uint64_t* peak_;  // arenas at a time
};

// Random operations whose bookkeeping here takes no heap.
class StoreMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    StoreDesc desc;
    desc.layers = {{2, 8, 8, Format::kBf16, Format::kBf16},
                   {1, 8, 8, Format::kBf16, Format::kBf16}};
    desc.isa = test_isa();
    const kernels::FormatOps& ops = kernels::format_ops(desc.isa, Format::kBf16);
    page_bytes_ = ops.k_bytes(8) + ops.v_bytes(8);
    auto store = Store::create(desc, std::make_unique<CountedArenas>(&mapped_, &peak_));
    ASSERT_TRUE(store.is_ok()) << store.message();
    store_ = std::move(*store);
    ids_.fill(-1);
    bytes_before_ = heap_bytes;
    blocks_before_ = heap_blocks;
  }

  void step(Random& random) {
    SeqId& id = ids_[random.below(ids_.size())];
    if (id < 0) {
      id = *store_->create_sequence();
      return;
    }
    const uint64_t what = random.below(40);
    if (what == 0) {
      ASSERT_TRUE(store_->drop(id).is_ok());
      id = -1;
    } else if (what < 3) {
      SeqId& to = ids_[random.below(ids_.size())];
      if (to < 0) to = *store_->fork(id);
    } else if (what < 5) {
      const int layer = static_cast<int>(random.below(2));
      const auto kind = static_cast<SideArray>(random.below(5));
      ASSERT_TRUE(store_->side_array(id, layer, 0, kind).is_ok());
    } else if (what < 7) {
      ASSERT_TRUE(store_->truncate(id, random.below(store_->length(id) + 1)).is_ok());
    } else if (store_->length(id) < 6000) {
      ASSERT_TRUE(store_->begin_append(id, 1 + static_cast<int>(random.below(100))).is_ok());
      if (what == 7) store_->abort(id);
      if (what != 7) store_->commit(id);
    }
  }

  // The largest part of committed bytes besides pages that the heap may show beyond it.
  int64_t allowance(const StoreBytes& bytes, int64_t blocks) const {
    const auto arenas = static_cast<int64_t>(peak_);
    int64_t more = 24 * blocks;  // malloc rounds up; a page of 4,096 for the largest
    more += 8 * static_cast<int64_t>(mapped_ / page_bytes_ - bytes.pages);  // headers of free pages
    more += 2 * 32 * arenas;                                                // the table of arenas
    more += 512 + 32 * static_cast<int64_t>(ids_.size());  // the table of sequences
    return more;
  }

  std::unique_ptr<Store> store_;
  std::array<SeqId, 6> ids_;
  size_t page_bytes_ = 0;
  uint64_t mapped_ = 0, peak_ = 0;
  int64_t bytes_before_ = 0, blocks_before_ = 0;
};

TEST_F(StoreMemory, committed_and_arena_bytes_are_what_was_taken_from_the_system) {
  Random random(5);
  int64_t largest = 0, loosest = 0;
  for (int i = 0; i < 4000; ++i) {
    ASSERT_NO_FATAL_FAILURE(step(random));
    const StoreBytes bytes = store_->bytes();
    const int64_t heap = heap_bytes - bytes_before_, blocks = heap_blocks - blocks_before_;
    ASSERT_EQ(bytes.arenas, mapped_);
    ASSERT_LE(bytes.pages * page_bytes_, mapped_);
    const auto besides = static_cast<int64_t>(bytes.committed - bytes.pages * page_bytes_);
    ASSERT_GE(heap, besides) << "step " << i << ": counted, but not there";
    ASSERT_LE(heap, besides + allowance(bytes, blocks)) << "step " << i << ": there, not counted";
    largest = std::max(largest, besides);
    loosest = std::max(loosest, allowance(bytes, blocks));
  }
  EXPECT_GT(largest, 4 * loosest) << "the allowance decides, not the count";
  for (const SeqId id : ids_) {
    if (id >= 0) {
      ASSERT_TRUE(store_->drop(id).is_ok());
    }
  }
  EXPECT_EQ(store_->bytes().committed, 0u);
  EXPECT_EQ(mapped_, 0u);
  store_.reset();
  EXPECT_LE(heap_bytes, bytes_before_);
}

}  // namespace
}  // namespace heed::test
