// Random operations on the store and on a plain model of it; after each, every invariant holds and
// after every few all content is equal.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kv/arena_source.h"
#include "store_model.h"

namespace heed::test {
namespace {

struct Config {
  const char* name;
  std::vector<LayerShape> layers;
  bool tiny_arenas = false;  // a few pages each, so that arenas come and go all the time
};

class TinyArenas final : public kv::ArenaSource {
 public:
  void* map(size_t bytes) override {
    void* memory = std::aligned_alloc(64, bytes);
    if (memory != nullptr) std::memset(memory, 0, bytes);
    return memory;
  }
  void unmap(void* memory, size_t) override { std::free(memory); }
  size_t arena_bytes() const override { return 8192; }
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
      auto store = Store::create(desc_, std::make_unique<TinyArenas>());
      ASSERT_TRUE(store.is_ok()) << store.message();
      store_ = std::move(*store);
    } else {
      store_ = make_store(desc_);
    }
    ASSERT_NE(store_, nullptr);
    model_ = std::make_unique<StoreModel>(desc_);
  }

  SeqId any(Random& random) {
    auto it = model_->sequences.begin();
    std::advance(it, random.below(model_->sequences.size()));
    return it->first;
  }

  void create(Random& random) {
    const int64_t first = random.below(3) == 0 ? static_cast<int64_t>(random.below(1000)) : 0;
    auto id = store_->create_sequence(first);
    ASSERT_TRUE(id.is_ok()) << id.message();
    ASSERT_FALSE(model_->sequences.contains(*id));
    model_->sequences[*id].first = first;
  }

  void fork(SeqId id) {
    auto child = store_->fork(id);
    if (model_->sequences[id].open) {
      ASSERT_EQ(child.code(), Code::kInvalidArgument);
      return;
    }
    ASSERT_TRUE(child.is_ok()) << child.message();
    model_->sequences[*child] = model_->sequences[id];
  }

  void append(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    static constexpr int kSizes[] = {1, 1, 1, 2, 3, 7, 17, 63, 64, 65, 127, 130};
    const int n = kSizes[random.below(std::size(kSizes))];
    if (s.open) {
      ASSERT_EQ(store_->begin_append(id, n).code(), Code::kInvalidArgument);
      return;
    }
    if (s.rows.size() + n > 420) return;
    const Status status = store_->begin_append(id, n);
    ASSERT_TRUE(status.is_ok()) << status.message();
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
    const int64_t position = s.first + static_cast<int64_t>(random.below(s.rows.size() + 20));
    const Status status = store_->truncate(id, position);
    if (s.open) {
      ASSERT_EQ(status.code(), Code::kInvalidArgument);
      return;
    }
    ASSERT_TRUE(status.is_ok()) << status.message();
    model_->truncate(s, position);
  }

  void side_array(SeqId id, Random& random) {
    ModelSequence& s = model_->sequences[id];
    const int layer = static_cast<int>(random.below(desc_.layers.size()));
    const int head = static_cast<int>(random.below(desc_.layers[layer].kv_heads));
    int list = head;
    for (int l = 0; l < layer; ++l) list += desc_.layers[l].kv_heads;
    const auto kind = static_cast<SideArray>(random.below(5));
    auto data = store_->side_array(id, layer, head, kind);
    ASSERT_TRUE(data.is_ok()) << data.message();
    const size_t len = s.rows.size() + s.pending.size();
    if (kind == SideArray::kPosition) s.position[list] = true;
    if (kind == SideArray::kLive && !s.live.contains(list)) s.live[list].assign(len, true);
    if (kind == SideArray::kBias && !s.bias.contains(list)) s.bias[list].assign(len, 0.0f);
    if (kind == SideArray::kTokenClass && !s.token_class.contains(list)) {
      s.token_class[list].assign(len, 0);
    }
    for (int i = 0; i < 5 && len > 0; ++i) {
      const size_t at = random.below(len);
      if (kind == SideArray::kLive) {
        static_cast<uint64_t*>(*data)[at / 64] &= ~(uint64_t{1} << (at % 64));
        s.live[list][at] = false;
      } else if (kind == SideArray::kBias) {
        static_cast<float*>(*data)[at] = s.bias[list][at] = static_cast<float>(at) + 0.5f;
      } else if (kind == SideArray::kTokenClass) {
        ASSERT_EQ(static_cast<uint8_t*>(*data)[at], s.token_class[list][at]);
        static_cast<uint8_t*>(*data)[at] = s.token_class[list][at] = static_cast<uint8_t>(at + 1);
      }
    }
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
    ASSERT_EQ(bytes.pages, model_->distinct_pages() * model_->lists());
    const uint64_t pages = model_->page_bytes();
    ASSERT_GE(bytes.committed, pages);
    // Besides pages: per list a structure below 300 bytes, 4 bytes a page and side arrays of at
    // most 64 x 13 + 8 bytes a page, half as much again reserved. check() recounts it exactly.
    uint64_t slack = 0;
    for (const auto& [id, s] : model_->sequences) {
      slack +=
          256 + model_->lists() * (300 + (std::max<uint64_t>(s.pages.size(), 8) + 8) * 2 * 850);
    }
    ASSERT_LE(bytes.committed, pages + slack);
    ASSERT_EQ(bytes.committed == 0, model_->sequences.empty());
    ASSERT_NO_FATAL_FAILURE(expect_committed_is_the_sum());
  }

  // The side array that no ListView shows, read through the store.
  void expect_token_classes(SeqId id) {
    const ModelSequence& s = model_->sequences[id];
    int list = 0;
    for (size_t l = 0; l < desc_.layers.size(); ++l) {
      for (int g = 0; g < desc_.layers[l].kv_heads; ++g, ++list) {
        const auto want = s.token_class.find(list);
        if (want == s.token_class.end() || want->second.empty()) continue;
        const auto data = store_->side_array(id, static_cast<int>(l), g, SideArray::kTokenClass);
        ASSERT_TRUE(data.is_ok()) << data.message();
        ASSERT_EQ(std::memcmp(*data, want->second.data(), want->second.size()), 0);
      }
    }
  }

  // What all sequences hold, each counted alone, less the pages counted for more than one holder.
  void expect_committed_is_the_sum() {
    uint64_t sum = 0, whole = 0;
    for (const auto& [id, s] : model_->sequences) {
      if (s.open) return;  // its replaced pages belong to no list
      sum += store_->bytes(id).committed;
      whole += s.pages.size();
    }
    const uint64_t once = model_->distinct_pages();
    if (once == 0) return;
    const uint64_t of_one = model_->page_bytes() / once;
    ASSERT_EQ(store_->bytes().committed, sum - (whole - once) * of_one);
  }

  void step(Random& random) {
    const uint64_t what = random.below(100);
    const SeqId id = any(random);
    if (what < 4 && model_->sequences.size() < 7) return create(random);
    if (what < 10 && model_->sequences.size() < 7) return fork(id);
    if (what < 50) return append(id, random);
    if (what < 80) return end(id, random);
    if (what < 87) return truncate(id, random);
    if (what < 96) return side_array(id, random);
    if (model_->sequences.size() > 1) return drop(id);
  }

  StoreDesc desc_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StoreModel> model_;
};

TEST_P(RandomOperations, store_equals_plain_model) {
  for (uint64_t seed : {17, 18, 19}) {
    ASSERT_NO_FATAL_FAILURE(start());
    Random random(seed);
    create(random);
    for (int i = 0; i < 1500; ++i) {
      SCOPED_TRACE(cat("seed ", seed, " step ", i));
      if (model_->sequences.empty()) create(random);
      step(random);
      ASSERT_FALSE(HasFatalFailure());
      const Status status = store_->check();
      ASSERT_TRUE(status.is_ok()) << status.message();
      ASSERT_NO_FATAL_FAILURE(expect_bytes());
      if (i % 10 == 0) {
        for (const auto& [id, s] : model_->sequences) {
          ASSERT_NO_FATAL_FAILURE(model_->expect_equal(*store_, id));
          ASSERT_NO_FATAL_FAILURE(expect_token_classes(id));
        }
      }
    }
    while (!model_->sequences.empty()) drop(model_->sequences.begin()->first);
    const StoreBytes bytes = store_->bytes();
    EXPECT_EQ(bytes.live, 0u);
    EXPECT_EQ(bytes.committed, 0u);
    EXPECT_EQ(bytes.pages, 0u);
    EXPECT_EQ(bytes.arenas, 0u) << "empty arenas go back to the system";
    EXPECT_TRUE(store_->check().is_ok());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RandomOperations,
    ::testing::Values(Config{"f32", {shape(2, 6, 10, Format::kF32, Format::kF32)}},
                      Config{"tiny_arenas",
                             {shape(2, 6, 10, Format::kF32, Format::kF32),
                              shape(1, 8, 8, Format::kBf16, Format::kF16)},
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
