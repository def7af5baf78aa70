// Random operations on the store and on a plain model of it, with and without shortages of memory;
// after each, every invariant holds and after every few all content is equal.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "heap_counters.h"
#include "kv/arena_source.h"
#include "store_model.h"

namespace heed::test {
namespace {

struct Config {
  const char* name;
  std::vector<LayerShape> layers;
  bool tiny_arenas = false;  // a few pages each, so that arenas come and go all the time
  bool shortages = false;    // of heap and arenas, before every other call; with tiny arenas
};

class TinyArenas final : public kv::ArenaSource {
 public:
  // `left` requests succeed until one fails; below 0 none does.
  explicit TinyArenas(int* left) : left_(left) {}
  void* map(size_t bytes) override {
    if (*left_ >= 0 && (*left_)-- == 0) return nullptr;
    void* memory = std::aligned_alloc(64, bytes);
    if (memory != nullptr) std::memset(memory, 0, bytes);
    return memory;
  }
  void unmap(void* memory, size_t) override { std::free(memory); }
  size_t arena_bytes() const override { return 8192; }

 private:
  int* left_;
};

void PrintTo(const Config& config, std::ostream* out) { *out << config.name; }

LayerShape shape(int kv_heads, int dk, int dv, Format k, Format v, bool alias = false) {
  return {kv_heads, dk, dv, k, v, alias};
}

class RandomOperations : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override {
    desc_.layers = GetParam().layers;
    desc_.isa = test_isa();
  }

  void start() {
    if (GetParam().tiny_arenas) {
      auto store = Store::create(desc_, std::make_unique<TinyArenas>(&arenas_left_));
      ASSERT_TRUE(store.is_ok()) << store.message();
      store_ = std::move(*store);
    } else {
      store_ = make_store(desc_);
    }
    ASSERT_NE(store_, nullptr);
    model_ = std::make_unique<StoreModel>(desc_);
  }

  // Runs a call that may need memory. False: it met the shortage made for it, and the model stays
  // as it is.
  template <class Call>
  bool survives(Random& random, Call&& call) {
    if (GetParam().shortages && random.below(2) == 0) {
      if (random.below(2) == 0) {
        allocations_left = static_cast<int64_t>(random.below(6));
      } else {
        arenas_left_ = static_cast<int>(random.below(2));
      }
    }
    const bool armed = allocations_left >= 0 || arenas_left_ >= 0;
    const Status status = call();
    const bool fired = armed && allocations_left < 0 && arenas_left_ < 0;
    allocations_left = arenas_left_ = -1;
    if (status.is_ok()) {
      EXPECT_FALSE(fired) << "a shortage went unnoticed";
      return true;
    }
    EXPECT_TRUE(fired) << status.message();
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    ++shortages_met_;
    return false;
  }

  SeqId any(Random& random) {
    auto it = model_->sequences.begin();
    std::advance(it, random.below(model_->sequences.size()));
    return it->first;
  }

  void create(Random& random) {
    const int64_t first = random.below(3) == 0 ? static_cast<int64_t>(random.below(1000)) : 0;
    SeqId id = -1;
    if (!survives(random, [&]() -> Status {
          HEED_ASSIGN(id, store_->create_sequence(first));
          return {};
        })) {
      return;
    }
    ASSERT_FALSE(model_->sequences.contains(id));
    model_->create(id, first);
  }

  void fork(SeqId id, Random& random) {
    if (model_->sequences[id].open) {
      ASSERT_EQ(store_->fork(id).code(), Code::kInvalidArgument);
      return;
    }
    SeqId child = -1;
    if (survives(random, [&]() -> Status {
          HEED_ASSIGN(child, store_->fork(id));
          return {};
        })) {
      model_->sequences[child] = model_->sequences[id];
    }
  }

  void append(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    static constexpr int kSizes[] = {1, 1, 1, 2, 3, 7, 17, 63, 64, 65, 127, 130};
    const int n = kSizes[random.below(std::size(kSizes))];
    if (s.open) {
      ASSERT_EQ(store_->begin_append(id, n).code(), Code::kInvalidArgument);
      return;
    }
    for (const ModelList& list : s.lists) {
      if (list.rows.size() + n > 420) return;
    }
    if (!survives(random, [&] { return store_->begin_append(id, n); })) return;
    model_->begin(s, n);
    append_all(*store_, id, s.pending, static_cast<int>(random.below(3)));
  }

  void end(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    if (!s.open) return;
    if (random.below(4) == 0) {
      store_->abort(id);
      model_->abort(s);
    } else {
      store_->commit(id);
      model_->commit(s);
    }
  }

  void truncate(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    const int64_t position = s.first + static_cast<int64_t>(random.below(s.length + 20));
    if (s.open) {
      ASSERT_EQ(store_->truncate(id, position).code(), Code::kInvalidArgument);
      return;
    }
    if (survives(random, [&] { return store_->truncate(id, position); })) {
      model_->truncate(s, position);
    }
  }

  // Makes one array of one list, or edits the one that is there.
  void side_array(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    const int index = static_cast<int>(random.below(model_->lists()));
    const auto kind = static_cast<SideArray>(random.below(5));
    void* data = nullptr;
    if (!survives(random, [&]() -> Status {
          HEED_ASSIGN(data, store_->side_array(id, model_->layer_index(index),
                                               model_->head_index(index), kind));
          return {};
        })) {
      return;
    }
    ModelList& list = s.lists[index];
    const size_t len = list.rows.size() + s.pending.size();
    make_model_side(s, list, kind, len);
    if (kind == SideArray::kPosition) {
      lower_positions(list, static_cast<int32_t*>(data), random);
      return;
    }
    for (int i = 0; i < 5 && len > 0; ++i) {
      const size_t at = random.below(len);
      if (kind == SideArray::kLive) {
        static_cast<uint64_t*>(data)[at / 64] &= ~(uint64_t{1} << (at % 64));
        (*list.live)[at] = false;
      } else if (kind == SideArray::kTokenClass) {
        static_cast<uint8_t*>(data)[at] = (*list.token_class)[at] = static_cast<uint8_t>(at + 1);
      } else {
        auto& values = kind == SideArray::kBias ? *list.bias : *list.mass;
        static_cast<float*>(data)[at] = values[at] = static_cast<float>(at) + 0.5f;
      }
    }
  }

  static void make_model_side(const ModelSequence& s, ModelList& list, SideArray kind, size_t len) {
    if (kind == SideArray::kLive && !list.live) list.live.emplace(len, true);
    if (kind == SideArray::kBias && !list.bias) list.bias.emplace(len, 0.0f);
    if (kind == SideArray::kColumnMass && !list.mass) list.mass.emplace(len, 0.0f);
    if (kind == SideArray::kTokenClass && !list.token_class) list.token_class.emplace(len, 0);
    if (kind == SideArray::kPosition && !list.position) {
      list.position.emplace();
      for (size_t i = 0; i < len; ++i) list.position->push_back(static_cast<int32_t>(s.first + i));
    }
  }

  // Moves the first committed rows to earlier positions, so that the next truncate cuts this list
  // elsewhere than its neighbours.
  static void lower_positions(ModelList& list, int32_t* positions, Random& random) {
    const size_t n = random.below(list.rows.size() + 1);
    const int32_t by = 1 + static_cast<int32_t>(random.below(60));
    for (size_t i = 0; i < n; ++i) positions[i] = (*list.position)[i] -= by;
  }

  void drop(SeqId id) {
    ASSERT_TRUE(store_->drop(id).is_ok());
    model_->sequences.erase(id);
    ASSERT_FALSE(store_->has_sequence(id));
    ASSERT_EQ(store_->begin_append(id, 1).code(), Code::kNotFound);
  }

  void expect_bytes() {
    const StoreBytes bytes = store_->bytes();
    ASSERT_EQ(bytes.live, model_->live_bytes());
    ASSERT_EQ(bytes.pages, model_->distinct_pages());
    // What lists take besides pages is measured in memory_test.cpp.
    ASSERT_GE(bytes.committed, model_->page_bytes());
    ASSERT_EQ(bytes.committed == 0, model_->sequences.empty());
    // What all sequences hold, each counted alone, less what that counts more than once.
    uint64_t sum = 0;
    for (const auto& [id, s] : model_->sequences) sum += store_->bytes(id).committed;
    ASSERT_EQ(bytes.committed, sum - model_->shared_page_bytes());
    ASSERT_GE(bytes.arenas, model_->page_bytes() - 8 * bytes.pages);
  }

  int64_t ragged_sequences() const {
    return std::ranges::count_if(model_->sequences, [](const auto& item) {
      const std::vector<ModelList>& lists = item.second.lists;
      return std::ranges::any_of(
          lists, [&](const ModelList& l) { return l.rows.size() != lists[0].rows.size(); });
    });
  }

  void step(Random& random) {
    const uint64_t what = random.below(100);
    const SeqId id = any(random);
    if (what < 4 && model_->sequences.size() < 7) return create(random);
    if (what < 10 && model_->sequences.size() < 7) return fork(id, random);
    if (what < 50) return append(id, random);
    if (what < 80) return end(id, random);
    if (what < 87) return truncate(id, random);
    if (what < 96) return side_array(id, random);
    if (model_->sequences.size() > 1) return drop(id);
  }

  StoreDesc desc_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StoreModel> model_;
  int arenas_left_ = -1;
  int shortages_met_ = 0;
};

TEST_P(RandomOperations, store_equals_plain_model) {
  int64_t ragged = 0;
  for (uint64_t seed : {17, 18, 19}) {
    ASSERT_NO_FATAL_FAILURE(start());
    Random random(seed);
    create(random);
    for (int i = 0; i < 1500; ++i) {
      SCOPED_TRACE(cat("seed ", seed, " step ", i));
      while (model_->sequences.empty()) create(random);
      step(random);
      ASSERT_FALSE(HasFatalFailure());
      const Status status = store_->check();
      ASSERT_TRUE(status.is_ok()) << status.message();
      ASSERT_NO_FATAL_FAILURE(expect_bytes());
      if (i % 10 == 0) {
        for (const auto& [id, s] : model_->sequences) {
          ASSERT_NO_FATAL_FAILURE(model_->expect_equal(*store_, id));
        }
        ragged += ragged_sequences();
      }
    }
    EXPECT_GT(ragged, model_->lists() > 1 ? 20 : -1) << "positions were edited in vain";
    while (!model_->sequences.empty()) drop(model_->sequences.begin()->first);
    const StoreBytes bytes = store_->bytes();
    EXPECT_EQ(bytes.live, 0u);
    EXPECT_EQ(bytes.committed, 0u);
    EXPECT_EQ(bytes.pages, 0u);
    EXPECT_EQ(bytes.arenas, 0u) << "empty arenas go back to the system";
    EXPECT_TRUE(store_->check().is_ok());
  }
  EXPECT_GT(shortages_met_, GetParam().shortages ? 100 : -1);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RandomOperations,
    ::testing::Values(Config{"f32", {shape(2, 6, 10, Format::kF32, Format::kF32)}},
                      Config{"tiny_arenas",
                             {shape(2, 6, 10, Format::kF32, Format::kF32),
                              shape(1, 8, 8, Format::kBf16, Format::kF16)},
                             true},
                      Config{"shortages",
                             {shape(2, 6, 10, Format::kF32, Format::kBf16),
                              shape(1, 8, 8, Format::kBf16, Format::kF16)},
                             true,
                             true},
                      Config{"f16", {shape(2, 10, 6, Format::kF16, Format::kF16)}},
                      Config{"bf16", {shape(2, 8, 8, Format::kBf16, Format::kBf16)}},
                      Config{"mixed",
                             {shape(1, 4, 2, Format::kF32, Format::kBf16),
                              shape(3, 2, 6, Format::kBf16, Format::kF16)}},
                      Config{"alias",
                             {shape(1, 12, 8, Format::kBf16, Format::kBf16, true),
                              shape(1, 12, 8, Format::kBf16, Format::kBf16)}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace heed::test
