// Sequences out of one store and into another: lists, pages and side arrays come back as they were.
#include "kv/snapshot.h"

#include <numeric>

#include "store_model.h"

namespace heed::test {
namespace {

StoreDesc shapes(bool alias) {
  StoreDesc desc;
  desc.layers = {{2, 16, 16, Format::kBf16, Format::kBf16},
                 {1, 8, 12, Format::kF32, Format::kF16},
                 {3, 24, 8, Format::kF16, Format::kF16}};
  if (alias) desc.layers[2].v_aliases_k = true;
  desc.isa = test_isa();
  return desc;
}

void append(Store& store, SeqId seq, int n, uint64_t first) {
  ASSERT_TRUE(store.begin_append(seq, n).is_ok());
  std::vector<uint64_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), first);
  append_all(store, seq, ids);
  store.commit(seq);
}

Result<SeqId> copy(const Store& from, SeqId seq, Store& to, int64_t keep = -1) {
  HEED_ASSIGN(const auto reader, kv::SequenceReader::open(from, seq));
  kv::SequenceOutline outline = reader.outline();
  if (keep >= 0) outline.cut(keep);
  HEED_ASSIGN(const auto builder, kv::SequenceBuilder::begin(to, outline));
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    for (size_t p = 0; p < static_cast<size_t>(pages_for(outline.lists[i].slots)); ++p) {
      const auto page = reader.page(i, p);
      std::copy(page.begin(), page.end(), builder->page(i, p).begin());
    }
    for (const SideArray kind : kv::kSideArrays) {
      if (!outline.lists[i].has(kind)) continue;
      const auto side = builder->side(i, kind);
      std::copy_n(reader.side(i, kind).begin(), side.size(), side.begin());
    }
  }
  return builder->finish();
}

void expect_equal(const Store& a, SeqId of_a, const Store& b, SeqId of_b) {
  const Status sound = b.check();
  EXPECT_TRUE(sound.is_ok()) << sound.message();
  const auto left = kv::SequenceReader::open(a, of_a), right = kv::SequenceReader::open(b, of_b);
  ASSERT_TRUE(left.is_ok() && right.is_ok());
  const kv::SequenceOutline outline = left->outline();
  ASSERT_EQ(outline, right->outline());
  EXPECT_EQ(a.bytes(of_a).live, b.bytes(of_b).live);
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    for (size_t p = 0; p < static_cast<size_t>(pages_for(outline.lists[i].slots)); ++p) {
      const auto x = left->page(i, p), y = right->page(i, p);
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << i << " " << p;
    }
    for (const SideArray kind : kv::kSideArrays) {
      if (!outline.lists[i].has(kind)) continue;
      const auto x = left->side(i, kind), y = right->side(i, kind);
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << i;
    }
  }
}

class Snapshot : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Store> store() const { return std::move(*Store::create(shapes(GetParam()))); }
};

TEST_P(Snapshot, every_length_comes_back_and_goes_on_alike) {
  for (const int n : {1, 63, 64, 65, 200}) {
    const auto a = store(), b = store();
    const SeqId from = *a->create_sequence();
    append(*a, from, n, 1);
    const auto to = copy(*a, from, *b);
    ASSERT_TRUE(to.is_ok()) << to.message();
    expect_equal(*a, from, *b, *to);
    append(*a, from, 90, 1000);
    append(*b, *to, 90, 1000);
    expect_equal(*a, from, *b, *to);
  }
}

TEST_P(Snapshot, an_empty_sequence_comes_back) {
  const auto a = store(), b = store();
  const auto to = copy(*a, *a->create_sequence(17), *b);
  ASSERT_TRUE(to.is_ok());
  EXPECT_EQ(b->next_position(*to), 17);
  EXPECT_TRUE(b->check().is_ok());
}

TEST_P(Snapshot, a_cut_outline_is_the_sequence_as_it_was_then) {
  const auto a = store(), b = store(), c = store();
  const SeqId from = *a->create_sequence();
  append(*a, from, 100, 1);
  const SeqId then = *c->create_sequence();
  append(*c, then, 70, 1);
  const auto to = copy(*a, from, *b, 70);
  ASSERT_TRUE(to.is_ok()) << to.message();
  expect_equal(*c, then, *b, *to);
}

TEST_P(Snapshot, side_arrays_come_back_with_it) {
  const auto a = store(), b = store();
  const SeqId from = *a->create_sequence();
  append(*a, from, 100, 1);
  auto* bias = static_cast<float*>(*a->side_array(from, 1, 0, SideArray::kBias));
  for (int i = 0; i < 100; ++i) bias[i] = static_cast<float>(i);
  static_cast<uint64_t*>(*a->side_array(from, 0, 1, SideArray::kLive))[0] = 0xff00;
  auto* position = static_cast<int32_t*>(*a->side_array(from, 2, 2, SideArray::kPosition));
  EXPECT_EQ(position[99], 99);
  ASSERT_TRUE(a->side_array(from, 2, 0, SideArray::kTokenClass).is_ok());
  ASSERT_TRUE(a->side_array(from, 2, 1, SideArray::kColumnMass).is_ok());
  const auto to = copy(*a, from, *b);
  ASSERT_TRUE(to.is_ok()) << to.message();
  expect_equal(*a, from, *b, *to);
  EXPECT_EQ(b->lists(*to, 1)[0].bias[99], 99.0f);
}

TEST_P(Snapshot, whatever_lies_behind_the_last_row_is_made_neutral) {
  const auto a = store(), b = store();
  const SeqId from = *a->create_sequence();
  append(*a, from, 70, 1);
  auto builder =
      std::move(*kv::SequenceBuilder::begin(*b, kv::SequenceReader::open(*a, from)->outline()));
  const auto page = builder->page(0, 1);
  std::fill(page.begin(), page.end(), uint8_t{0xff});  // NaN in every format
  ASSERT_TRUE(builder->finish().is_ok());
  builder.reset();
  const Status sound = b->check();
  EXPECT_TRUE(sound.is_ok()) << sound.message();
}

TEST_P(Snapshot, an_unfinished_one_leaves_nothing) {
  const auto a = store(), b = store();
  const SeqId from = *a->create_sequence();
  append(*a, from, 300, 1);
  const auto outline = kv::SequenceReader::open(*a, from)->outline();
  ASSERT_TRUE(kv::SequenceBuilder::begin(*b, outline).is_ok());  // and gone at once
  EXPECT_EQ(b->bytes().pages, 0u);
  EXPECT_EQ(b->bytes().committed, 0u);
  EXPECT_EQ(b->bytes().arenas, 0u);
  EXPECT_TRUE(b->check().is_ok());
}

TEST_P(Snapshot, outlines_that_fit_no_store_are_refused) {
  const auto a = store();
  const SeqId from = *a->create_sequence();
  append(*a, from, 70, 1);
  const kv::SequenceOutline good = kv::SequenceReader::open(*a, from)->outline();
  const auto expect_refusal = [&](const char* what, auto&& change) {
    kv::SequenceOutline bad = good;
    change(bad);
    EXPECT_EQ(kv::SequenceBuilder::begin(*a, bad).code(), Code::kCorrupt) << what;
  };
  expect_refusal("lists", [](auto& o) { o.lists.pop_back(); });
  expect_refusal("first", [](auto& o) { o.first_position = -1; });
  expect_refusal("length", [](auto& o) { o.length = -1; });
  expect_refusal("end", [](auto& o) { o.first_position = int64_t{1} << 31; });
  expect_refusal("short list", [](auto& o) { o.lists[0].slots = 69; });
  expect_refusal("long list", [](auto& o) { o.lists[0].slots = 71; });
  expect_refusal("negative", [](auto& o) { o.lists[0] = {-1, 1}; });
  expect_refusal("side array", [](auto& o) { o.lists[0].side = 0x20; });
  EXPECT_TRUE(a->check().is_ok());
}

TEST_P(Snapshot, positions_must_ascend_within_the_sequence) {
  const auto a = store();
  kv::SequenceOutline outline;
  outline.first_position = 10;
  outline.length = 100;
  for (size_t i = 0; i < kv::lists_of(*a); ++i) outline.lists.push_back({100, 0});
  outline.lists[1] = {3, 1};
  const auto finish = [&](std::vector<int32_t> positions) {
    auto builder = std::move(*kv::SequenceBuilder::begin(*a, outline));
    std::memcpy(builder->side(1, SideArray::kPosition).data(), positions.data(), 12);
    return builder->finish();
  };
  for (const auto& bad :
       {std::vector<int32_t>{9, 11, 12}, {11, 11, 12}, {12, 11, 13}, {11, 12, 110}, {-5, 11, 12}}) {
    EXPECT_EQ(finish(bad).code(), Code::kCorrupt);
    EXPECT_EQ(a->bytes().pages, 0u);
  }
  EXPECT_TRUE(finish({10, 60, 109}).is_ok());
  EXPECT_TRUE(a->check().is_ok());
}

TEST_P(Snapshot, an_open_transaction_and_an_unknown_sequence_are_not_read) {
  const auto a = store();
  const SeqId seq = *a->create_sequence();
  ASSERT_TRUE(a->begin_append(seq, 5).is_ok());
  EXPECT_EQ(kv::SequenceReader::open(*a, seq).code(), Code::kInvalidArgument);
  EXPECT_EQ(kv::SequenceReader::open(*a, 99).code(), Code::kNotFound);
}

INSTANTIATE_TEST_SUITE_P(Pages, Snapshot, ::testing::Bool(),
                         [](const auto& alias) { return alias.param ? "alias" : "own_values"; });

}  // namespace
}  // namespace heed::test
