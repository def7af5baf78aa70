// What the store refuses, and that the refusal names the numbers.
#include <limits>

#include "store_model.h"

namespace heed::test {
namespace {

using ::testing::Test;

StoreDesc desc_of(int dk, int dv) {
  StoreDesc desc;
  desc.layers = {{2, dk, dv, Format::kBf16, Format::kBf16}};
  desc.isa = test_isa();
  return desc;
}

void expect_error(const Status& status, Code code, std::initializer_list<std::string> words) {
  EXPECT_EQ(status.code(), code) << status.message();
  for (const std::string& word : words) {
    EXPECT_NE(status.message().find(word), std::string::npos)
        << "'" << word << "' is not in: " << status.message();
  }
}

TEST(Limits, shapes_out_of_range_are_refused_with_layer_and_limit) {
  for (int bad : {-2, 0, 1, 3, 577, 578, 1 << 30}) {
    expect_error(Store::create(desc_of(bad, 64)).status(), Code::kOutOfRange,
                 {"layer 0", "key head size", cat(bad), "576"});
    expect_error(Store::create(desc_of(64, bad)).status(), Code::kOutOfRange,
                 {"layer 0", "value head size", cat(bad), "576"});
  }
  for (int good : {2, 576}) EXPECT_TRUE(Store::create(desc_of(good, good)).is_ok());
  StoreDesc desc = desc_of(8, 8);
  desc.layers.clear();
  expect_error(Store::create(desc).status(), Code::kInvalidArgument, {"layer"});
  desc = desc_of(8, 8);
  desc.layers[0].kv_heads = 0;
  expect_error(Store::create(desc).status(), Code::kOutOfRange, {"layer 0", "0 KV heads"});
  desc = desc_of(8, 8);
  desc.layers[0].v = static_cast<Format>(9);
  expect_error(Store::create(desc).status(), Code::kUnsupported, {"layer 0", "9", "bf16"});
  desc = desc_of(8, 10);
  desc.layers[0].v_aliases_k = true;
  expect_error(Store::create(desc).status(), Code::kInvalidArgument, {"layer 0", "8", "10"});
}

TEST(Limits, more_page_shapes_than_handles_can_name_are_refused) {
  StoreDesc desc = desc_of(2, 2);
  for (int i = 1; i < 64; ++i) {
    desc.layers.push_back({1, 2 + 2 * i, 2, Format::kBf16, Format::kBf16});
  }
  EXPECT_TRUE(Store::create(desc).is_ok());
  desc.layers.push_back({1, 400, 2, Format::kBf16, Format::kBf16});
  expect_error(Store::create(desc).status(), Code::kOutOfRange, {"layer 64", "64"});
}

TEST(Limits, calls_that_do_not_fit_are_refused) {
  auto store = make_store(desc_of(8, 8));
  expect_error(store->begin_append(0, 1), Code::kNotFound, {"sequence 0"});
  expect_error(store->truncate(7, 1), Code::kNotFound, {"sequence 7"});
  expect_error(store->drop(-1), Code::kNotFound, {"sequence -1"});
  expect_error(store->fork(3).status(), Code::kNotFound, {"sequence 3"});
  expect_error(store->side_array(3, 0, 0, SideArray::kBias).status(), Code::kNotFound,
               {"sequence 3"});
  const SeqId a = *store->create_sequence(10);
  for (int n : {0, -1, std::numeric_limits<int>::min()}) {
    expect_error(store->begin_append(a, n), Code::kInvalidArgument, {cat(n)});
  }
  expect_error(store->side_array(a, 1, 0, SideArray::kBias).status(), Code::kOutOfRange,
               {"layer 1"});
  expect_error(store->side_array(a, 0, 2, SideArray::kBias).status(), Code::kOutOfRange,
               {"KV head 2"});
  expect_error(store->side_array(a, 0, 0, static_cast<SideArray>(5)).status(),
               Code::kInvalidArgument, {"5"});
  expect_error(store->truncate(a, 9), Code::kOutOfRange, {"position 9", "10"});
  ASSERT_TRUE(store->begin_append(a, 5).is_ok());
  expect_error(store->begin_append(a, 5), Code::kInvalidArgument, {"open transaction", "5"});
  expect_error(store->fork(a).status(), Code::kInvalidArgument, {"fork", "open transaction"});
  expect_error(store->truncate(a, 10), Code::kInvalidArgument, {"truncate", "open transaction"});
  store->commit(a);
  store->commit(a);  // nothing open: nothing happens
  store->abort(a);
  EXPECT_EQ(store->length(a), 5);
  EXPECT_EQ(store->lists(99, 0), nullptr);
  EXPECT_EQ(store->lists(a, 1), nullptr);
  EXPECT_EQ(store->lists(a, -1), nullptr);
}

TEST(Limits, positions_end_at_2_to_31) {
  auto store = make_store(desc_of(8, 8));
  const int64_t last = std::numeric_limits<int32_t>::max();
  expect_error(store->create_sequence(-1).status(), Code::kOutOfRange, {"-1"});
  expect_error(store->create_sequence(last + 1).status(), Code::kOutOfRange, {cat(last)});
  const SeqId a = *store->create_sequence(last - 9);
  expect_error(store->begin_append(a, 11), Code::kOutOfRange, {cat(last - 9), "11", cat(last)});
  ASSERT_TRUE(store->begin_append(a, 10).is_ok());
  store->commit(a);
  expect_error(store->begin_append(a, 1), Code::kOutOfRange, {cat(last)});
}

TEST(Limits, max_bytes_is_never_passed_and_a_refusal_changes_nothing) {
  StoreDesc desc = desc_of(16, 16);
  // Two lists of 4 KiB pages: room for 10 pages and the structures.
  desc.max_bytes = 10 * (64 * 32 * 2 + 8) + 4096;
  auto store = make_store(desc);
  const SeqId a = *store->create_sequence();
  int tokens = 0;
  Status status;
  while ((status = store->begin_append(a, 16)).is_ok()) {
    store->commit(a);
    tokens += 16;
    ASSERT_LE(store->bytes().committed, desc.max_bytes);
    ASSERT_TRUE(store->check().is_ok());
    ASSERT_LT(tokens, 1000);
  }
  expect_error(status, Code::kResourceExhausted,
               {"append of sequence 0", cat(store->bytes().committed), cat(desc.max_bytes)});
  EXPECT_GE(tokens, 256);
  EXPECT_EQ(store->length(a), tokens);
  EXPECT_EQ(store->lists(a, 0)[0].len, tokens);
  EXPECT_TRUE(store->check().is_ok());
  // There is a way out: fewer tokens fit again.
  ASSERT_TRUE(store->truncate(a, 10).is_ok());
  EXPECT_TRUE(store->begin_append(a, 64).is_ok());
}

TEST(Limits, an_append_that_does_not_fit_its_transaction_writes_nothing) {
  auto store = make_store(desc_of(8, 8));
  const SeqId a = *store->create_sequence();
  const std::vector<float> data(2 * 8 * 4, 1.0f);
  const auto rows = View<const float, 3>::contiguous(data.data(), {2, 2, 8});
  store->append(a, 0, rows, rows, 0, 1);  // none open
  ASSERT_TRUE(store->begin_append(a, 1).is_ok());
  store->append(a, 0, rows, rows, 0, 1);   // two rows
  store->append(a, 1, rows, rows, 0, 1);   // no such layer
  store->append(99, 0, rows, rows, 0, 1);  // no such sequence
  store->append_rows(a, 0, 0, 0, 2, data.data(), 8, data.data(), 8);
  store->append_rows(a, 0, 2, 0, 1, data.data(), 8, data.data(), 8);
  store->append_rows(a, 0, 0, -1, 1, data.data(), 8, data.data(), 8);
  for (int g = 0; g < 2; ++g) {
    const auto* page = static_cast<const uint8_t*>(store->k_page(store->lists(a, 0)[g].pages[0]));
    for (int i = 0; i < 64 * 16 * 2; ++i) ASSERT_EQ(page[i], 0);
  }
}

}  // namespace
}  // namespace heed::test
