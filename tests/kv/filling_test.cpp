// A filling, a transaction that layers get one after the other and piece by piece, ends as one
// append of the same rows or as if it had never been.
#include "heap_counters.h"
#include "store_model.h"

namespace heed::test {
namespace {

StoreDesc small_store() {
  StoreDesc desc;
  desc.layers = {{2, 6, 10, Format::kF32, Format::kBf16},
                 {1, 8, 8, Format::kBf16, Format::kF16},
                 {1, 12, 8, Format::kF16, Format::kF16, true}};
  desc.isa = test_isa();
  return desc;
}

constexpr int kLayers = 3;

std::vector<uint64_t> ids_from(uint64_t first, int64_t n) {
  std::vector<uint64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(first + static_cast<uint64_t>(i));
  return ids;
}

// Rows [at, at + n) of `ids` into one layer.
Status fill(Store& store, SeqId seq, int layer, const std::vector<uint64_t>& ids, size_t at,
            int n) {
  HEED_TRY(store.extend(seq, layer, n));
  const std::vector<uint64_t> piece(ids.begin() + static_cast<int64_t>(at),
                                    ids.begin() + static_cast<int64_t>(at) + n);
  const Rows rows = make_rows(store.desc().layers[layer], layer, piece, 1);
  store.append(seq, layer, rows.k_view, rows.v_view, 0, 1);
  return Status::ok();
}

Status fill_layer(Store& store, SeqId seq, int layer, const std::vector<uint64_t>& ids,
                  Random& random) {
  for (size_t at = 0; at < ids.size();) {
    const size_t n = 1 + random.below(std::min<size_t>(ids.size() - at, 90));
    HEED_TRY(fill(store, seq, layer, ids, at, static_cast<int>(n)));
    at += n;
  }
  return Status::ok();
}

void append(Store& store, StoreModel& model, SeqId seq, int n) {
  ASSERT_TRUE(store.begin_append(seq, n).is_ok());
  model.begin(model.sequences[seq], n);
  append_all(store, seq, model.sequences[seq].pending);
  store.commit(seq);
  model.commit(model.sequences[seq]);
}

void expect_sound(Store& store, const StoreModel& model) {
  const Status sound = store.check();
  ASSERT_TRUE(sound.is_ok()) << sound.message();
  for (const auto& [id, s] : model.sequences) {
    ASSERT_NO_FATAL_FAILURE(model.expect_equal(store, id));
  }
  ASSERT_EQ(store.bytes().live, model.live_bytes());
  ASSERT_EQ(store.bytes().pages, model.distinct_pages());
}

TEST(Filling, ends_as_one_append_of_its_rows) {
  for (const int held : {0, 1, 63, 64, 100}) {
    for (const int rows : {1, 5, 64, 200}) {
      SCOPED_TRACE(cat(rows, " rows behind ", held));
      const auto store = make_store(small_store());
      StoreModel model(small_store());
      Random random(static_cast<uint64_t>(held * 1000 + rows));
      const SeqId seq = *store->create_sequence(held % 7);
      model.create(seq, held % 7);
      if (held > 0) append(*store, model, seq, held);
      ASSERT_TRUE(store->side_array(seq, 0, 1, SideArray::kPosition).is_ok());
      auto& position = model.sequences[seq].lists[1].position.emplace();
      for (int i = 0; i < held; ++i) position.push_back(held % 7 + i);
      const SeqId fork = *store->fork(seq);  // shares the last page
      model.sequences[fork] = model.sequences[seq];

      ASSERT_TRUE(store->begin_filling(seq, rows).is_ok());
      EXPECT_TRUE(store->filling(seq));
      const std::vector<uint64_t> ids = ids_from(model.next_row, rows);
      for (int layer = 0; layer < kLayers; ++layer) {
        ASSERT_TRUE(fill_layer(*store, seq, layer, ids, random).is_ok());
        ASSERT_TRUE(store->check().is_ok()) << store->check().message();
        EXPECT_EQ(store->length(seq), held);
        EXPECT_EQ(store->lists(seq, layer)[0].len, held + rows);
      }
      store->commit(seq);
      EXPECT_FALSE(store->filling(seq));
      model.begin(model.sequences[seq], rows);
      model.commit(model.sequences[seq]);
      ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
      // It goes on as any other.
      append(*store, model, seq, 3);
      ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
    }
  }
}

TEST(Filling, leaves_nothing_behind_wherever_it_ends_early) {
  const auto store = make_store(small_store());
  StoreModel model(small_store());
  const SeqId seq = *store->create_sequence();
  model.create(seq, 0);
  append(*store, model, seq, 70);
  const SeqId fork = *store->fork(seq);
  model.sequences[fork] = model.sequences[seq];
  const std::vector<uint64_t> ids = ids_from(model.next_row, 150);
  Random random(3);
  for (int layers = 0; layers <= kLayers; ++layers) {
    for (const bool by_commit : {false, true}) {
      if (by_commit && layers == kLayers) continue;  // then all is there
      ASSERT_TRUE(store->begin_filling(seq, 150).is_ok());
      for (int layer = 0; layer < layers; ++layer) {
        ASSERT_TRUE(fill_layer(*store, seq, layer, ids, random).is_ok());
      }
      if (layers < kLayers) {
        ASSERT_TRUE(fill(*store, seq, layers, ids, 0, 149).is_ok());
      }
      ASSERT_TRUE(store->check().is_ok()) << store->check().message();
      by_commit ? store->commit(seq) : store->abort(seq);
      EXPECT_FALSE(store->filling(seq));
      ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model)) << layers << " layers";
    }
  }
  ASSERT_TRUE(store->begin_filling(seq, 150).is_ok());
  ASSERT_TRUE(fill(*store, seq, 1, ids, 0, 100).is_ok());
  ASSERT_TRUE(store->drop(seq).is_ok());
  model.sequences.erase(seq);
  ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
}

TEST(Filling, lets_other_sequences_come_and_go) {
  const auto store = make_store(small_store());
  StoreModel model(small_store());
  Random random(5);
  const SeqId seq = *store->create_sequence(), other = *store->create_sequence();
  model.create(seq, 0);
  model.create(other, 0);
  append(*store, model, seq, 10);
  const std::vector<uint64_t> ids = ids_from(1'000'000, 130);
  ASSERT_TRUE(store->begin_filling(seq, 130).is_ok());
  for (int layer = 0; layer < kLayers; ++layer) {
    for (size_t at = 0; at < 130; at += 26) {
      ASSERT_TRUE(fill(*store, seq, layer, ids, at, 26).is_ok());
      append(*store, model, other, 17);
      const SeqId third = *store->fork(other);
      ASSERT_TRUE(store->truncate(third, 5).is_ok());
      ASSERT_TRUE(store->drop(third).is_ok());
      ASSERT_TRUE(store->check().is_ok()) << store->check().message();
      ASSERT_NO_FATAL_FAILURE(model.expect_equal(*store, other));
    }
  }
  store->commit(seq);
  model.next_row = 1'000'000;
  model.begin(model.sequences[seq], 130);
  model.commit(model.sequences[seq]);
  ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
}

TEST(Filling, calls_that_do_not_fit_are_refused_and_change_nothing) {
  const auto store = make_store(small_store());
  StoreModel model(small_store());
  const SeqId seq = *store->create_sequence();
  model.create(seq, 0);
  append(*store, model, seq, 10);
  EXPECT_EQ(store->begin_filling(seq + 1, 5).code(), Code::kNotFound);
  EXPECT_EQ(store->begin_filling(seq, 0).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->begin_filling(seq, int64_t{1} << 31).code(), Code::kOutOfRange);
  EXPECT_EQ(store->begin_filling(seq, INT64_MAX).code(), Code::kOutOfRange);
  EXPECT_EQ(store->extend(seq, 0, 1).code(), Code::kInvalidArgument);  // none open
  EXPECT_FALSE(store->filling(seq + 1));
  ASSERT_TRUE(store->begin_append(seq, 5).is_ok());
  EXPECT_EQ(store->begin_filling(seq, 5).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->extend(seq, 0, 1).code(), Code::kInvalidArgument);
  EXPECT_FALSE(store->filling(seq));
  store->abort(seq);
  ASSERT_TRUE(store->begin_filling(seq, 5).is_ok());
  EXPECT_EQ(store->begin_filling(seq, 5).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->begin_append(seq, 5).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->fork(seq).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->truncate(seq, 3).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->extend(seq, 0, 0).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->extend(seq, 0, 6).code(), Code::kInvalidArgument);
  EXPECT_EQ(store->extend(seq, -1, 1).code(), Code::kOutOfRange);
  EXPECT_EQ(store->extend(seq, kLayers, 1).code(), Code::kOutOfRange);
  ASSERT_TRUE(store->extend(seq, 0, 3).is_ok());
  EXPECT_EQ(store->extend(seq, 0, 3).code(), Code::kInvalidArgument);  // 2 are left
  store->abort(seq);
  ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
}

TEST(Filling, more_than_the_limit_holds_is_refused_before_the_first_row) {
  StoreDesc desc = small_store();
  const auto free = make_store(desc);
  const SeqId big = *free->create_sequence();
  ASSERT_TRUE(free->begin_append(big, 640).is_ok());
  desc.max_bytes = free->bytes().committed;
  const auto store = make_store(desc);
  const SeqId seq = *store->create_sequence();
  const StoreBytes before = store->bytes();
  EXPECT_EQ(store->begin_filling(seq, 704).code(), Code::kResourceExhausted);
  EXPECT_FALSE(store->filling(seq));
  EXPECT_EQ(store->bytes().committed, before.committed);
  // What others take meanwhile is met by the layer that has no room any more.
  ASSERT_TRUE(store->begin_filling(seq, 500).is_ok());
  ASSERT_TRUE(store->extend(seq, 0, 500).is_ok());
  const SeqId other = *store->create_sequence();
  ASSERT_TRUE(store->begin_append(other, 320).is_ok());
  const StoreBytes full = store->bytes();
  Status status;
  for (int layer = 1; layer < kLayers && status.is_ok(); ++layer) {
    status = store->extend(seq, layer, 500);
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_TRUE(store->check().is_ok());
  store->abort(seq);
  EXPECT_LT(store->bytes().committed, full.committed);
  EXPECT_TRUE(store->check().is_ok());
}

TEST(Filling, a_layer_that_meets_a_shortage_of_memory_stays_as_it_was) {
  const auto store = make_store(small_store());
  StoreModel model(small_store());
  const SeqId seq = *store->create_sequence();
  model.create(seq, 0);
  append(*store, model, seq, 10);
  const std::vector<uint64_t> ids = ids_from(model.next_row, 6400);
  ASSERT_TRUE(store->begin_filling(seq, 6400).is_ok());
  int failures = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (size_t at = 0; at < ids.size(); at += 640) {
      Status status;
      int64_t n = 0;
      do {
        allocations_left = n++;
        status = store->extend(seq, layer, 640);
        const bool fired = allocations_left.exchange(-1) < 0;
        ASSERT_EQ(status.is_ok(), !fired);
        ASSERT_TRUE(store->check().is_ok()) << store->check().message();
        failures += fired;
      } while (!status.is_ok());
      const std::vector<uint64_t> piece(ids.begin() + static_cast<int64_t>(at),
                                        ids.begin() + static_cast<int64_t>(at) + 640);
      const Rows rows = make_rows(store->desc().layers[layer], layer, piece, 0);
      store->append(seq, layer, rows.k_view, rows.v_view, 0, 1);
    }
  }
  EXPECT_GT(failures, 10);
  store->commit(seq);
  model.begin(model.sequences[seq], 6400);
  model.commit(model.sequences[seq]);
  ASSERT_NO_FATAL_FAILURE(expect_sound(*store, model));
}

}  // namespace
}  // namespace heed::test
