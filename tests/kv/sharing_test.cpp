// Fork, copy on write, abort and truncate: what is shared, what is copied, what is restored.
#include <cstring>
#include <limits>

#include "store_model.h"

namespace heed::test {
namespace {

StoreDesc desc_of(Format k = Format::kBf16, Format v = Format::kBf16, bool alias = false) {
  StoreDesc desc;
  desc.layers = {{2, 16, 8, k, v, alias}, {1, 16, 8, k, v, alias}};
  desc.isa = test_isa();
  return desc;
}

constexpr int kLists = 3;

std::vector<uint64_t> ids(uint64_t first, int n) {
  std::vector<uint64_t> out(n);
  for (int i = 0; i < n; ++i) out[i] = first + i;
  return out;
}

void append(Store& store, SeqId seq, uint64_t first, int n) {
  const Status status = store.begin_append(seq, n);
  ASSERT_TRUE(status.is_ok()) << status.message();
  append_all(store, seq, ids(first, n));
  store.commit(seq);
}

// The bytes of every page of a sequence, with its handles and lengths.
std::string image(const Store& store, SeqId seq) {
  std::string out;
  for (size_t l = 0; l < store.desc().layers.size(); ++l) {
    const LayerShape& shape = store.desc().layers[l];
    const kernels::FormatOps& k = kernels::format_ops(store.desc().isa, shape.k);
    const kernels::FormatOps& v = kernels::format_ops(store.desc().isa, shape.v);
    for (int g = 0; g < shape.kv_heads; ++g) {
      const ListView& view = store.lists(seq, static_cast<int>(l))[g];
      out += cat(view.len, ":");
      for (int p = 0; p * kPageTokens < view.len; ++p) {
        out += cat(view.pages[p], ",");
        out.append(static_cast<const char*>(store.k_page(view.pages[p])), k.k_bytes(shape.dk));
        if (!shape.v_aliases_k) {
          out.append(static_cast<const char*>(store.v_page(view.pages[p])), v.v_bytes(shape.dv));
        }
      }
    }
  }
  return out;
}

TEST(Sharing, fork_shares_every_page_and_commits_it_once) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  append(*store, a, 1, 100);
  const StoreBytes before = store->bytes();
  const StoreBytes alone = store->bytes(a);
  const SeqId b = *store->fork(a);
  const StoreBytes after = store->bytes();
  EXPECT_EQ(after.pages, before.pages);
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(image(*store, a), image(*store, b));  // handles included
  // Only the structures of the lists are new; for one holder a shared page counts whole.
  EXPECT_LE(store->bytes(b).committed, alone.committed);
  EXPECT_GT(store->bytes(b).committed, 3 * 2 * 64 * (16 + 8) * 2u);
  EXPECT_EQ(store->bytes(b).live, alone.live);
  EXPECT_LT(after.committed - before.committed, 2048u);
  EXPECT_TRUE(store->check().is_ok());
}

TEST(Sharing, append_after_fork_copies_only_the_partial_page) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  append(*store, a, 1, 100);  // one full page, one of 36
  const SeqId b = *store->fork(a);
  const std::string original = image(*store, a);
  const uint64_t pages = store->bytes().pages;
  append(*store, b, 1000, 3);
  EXPECT_EQ(store->bytes().pages, pages + kLists);
  EXPECT_EQ(image(*store, a), original);
  EXPECT_EQ(store->lists(a, 0)[0].pages[0], store->lists(b, 0)[0].pages[0]);
  EXPECT_NE(store->lists(a, 0)[0].pages[1], store->lists(b, 0)[0].pages[1]);
  append(*store, a, 2000, 3);  // now the only holder: no copy
  EXPECT_EQ(store->bytes().pages, pages + kLists);
  EXPECT_TRUE(store->check().is_ok());
}

TEST(Sharing, append_after_fork_at_a_page_border_copies_nothing) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  append(*store, a, 1, 128);
  const SeqId b = *store->fork(a);
  const uint64_t pages = store->bytes().pages;
  append(*store, b, 1000, 1);
  EXPECT_EQ(store->bytes().pages, pages + kLists);
  EXPECT_EQ(store->lists(a, 1)[0].pages[1], store->lists(b, 1)[0].pages[1]);
}

TEST(Sharing, abort_restores_handles_bytes_and_lengths) {
  for (const auto& [k, v, alias] : {std::tuple{Format::kF32, Format::kF32, false},
                                    {Format::kF16, Format::kF16, false},
                                    {Format::kBf16, Format::kBf16, false},
                                    {Format::kBf16, Format::kBf16, true}}) {
    for (int start : {0, 1, 63, 64, 65, 100}) {
      for (int n : {1, 27, 28, 29, 64, 200}) {
        for (bool shared : {false, true}) {
          auto store = make_store(desc_of(k, v, alias));
          const SeqId a = *store->create_sequence();
          if (start > 0) append(*store, a, 1, start);
          if (shared) {
            ASSERT_TRUE(store->fork(a).is_ok());
          }
          const std::string before = image(*store, a);
          const StoreBytes bytes = store->bytes();
          ASSERT_TRUE(store->begin_append(a, n).is_ok());
          append_all(*store, a, ids(500, n));
          EXPECT_NE(image(*store, a), before);
          store->abort(a);
          EXPECT_EQ(image(*store, a), before);
          EXPECT_EQ(store->bytes().live, bytes.live);
          EXPECT_EQ(store->bytes().pages, bytes.pages);
          const Status status = store->check();
          ASSERT_TRUE(status.is_ok()) << status.message();
        }
      }
    }
  }
}

TEST(Sharing, rows_before_commit_are_visible_to_attend_but_not_committed) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence(7);
  ASSERT_TRUE(store->begin_append(a, 70).is_ok());
  EXPECT_EQ(store->lists(a, 0)[1].len, 70);
  EXPECT_EQ(store->length(a), 0);
  EXPECT_EQ(store->next_position(a), 7);
  EXPECT_EQ(store->bytes().live, 0u);
  store->commit(a);
  EXPECT_EQ(store->length(a), 70);
  EXPECT_EQ(store->next_position(a), 77);
}

TEST(Sharing, list_views_stay_at_their_address) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  const ListView* view = store->lists(a, 1);
  for (int i = 0; i < 50; ++i) {
    append(*store, a, i * 100, 97);
    ASSERT_TRUE(store->create_sequence().is_ok());
    ASSERT_EQ(store->lists(a, 1), view);
    ASSERT_EQ(view->len, (i + 1) * 97);
  }
}

TEST(Sharing, truncate_into_a_shared_full_page_leaves_the_other_holder_alone) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence(5);
  append(*store, a, 1, 200);
  const SeqId b = *store->fork(a);
  const std::string original = image(*store, a);
  ASSERT_TRUE(store->truncate(b, 5 + 70).is_ok());
  EXPECT_EQ(store->length(b), 70);
  EXPECT_TRUE(store->check().is_ok()) << store->check().message();  // zeros behind row 70
  append(*store, b, 1000, 30);
  EXPECT_EQ(image(*store, a), original);
  EXPECT_EQ(store->lists(a, 0)[0].pages[0], store->lists(b, 0)[0].pages[0]);
  EXPECT_NE(store->lists(a, 0)[0].pages[1], store->lists(b, 0)[0].pages[1]);
}

// truncate goes by position: lists whose positions were edited lose different numbers of rows.
TEST(Sharing, truncate_after_edited_positions_leaves_ragged_lists) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  append(*store, a, 1, 200);
  const SeqId other = *store->fork(a);
  const std::string original = image(*store, other);
  const int cuts[] = {190, 64, 5};
  for (int list = 0; list < kLists; ++list) {
    auto* pos =
        static_cast<int32_t*>(*store->side_array(a, list / 2, list % 2, SideArray::kPosition));
    for (int i = cuts[list]; i < 200; ++i) pos[i] += 1000;
  }
  ASSERT_TRUE(store->truncate(a, 199).is_ok());
  const auto list_of = [&](int list) { return store->lists(a, list / 2)[list % 2]; };
  for (int list = 0; list < kLists; ++list) EXPECT_EQ(list_of(list).len, cuts[list]);
  ASSERT_TRUE(store->check().is_ok()) << store->check().message();
  append(*store, a, 1000, 70);
  const LayerShape& shape = store->desc().layers[0];
  const kernels::FormatOps& k = kernels::format_ops(store->desc().isa, shape.k);
  std::vector<float> row(shape.dk);
  for (int list = 0; list < kLists; ++list) {
    const ListView view = list_of(list);
    ASSERT_EQ(view.len, cuts[list] + 70);
    for (int i = 0; i < view.len; ++i) {
      const uint64_t id = i < cuts[list] ? 1 + i : 1000 + (i - cuts[list]);
      k.unpack_k(store->k_page(view.pages[i / kPageTokens]), i % kPageTokens, 1, row.data(), 0,
                 shape.dk);
      ASSERT_EQ(row[3], row_value(id, list / 2, list % 2, false, 3)) << list << " row " << i;
    }
  }
  EXPECT_EQ(image(*store, other), original);
  EXPECT_TRUE(store->check().is_ok()) << store->check().message();
}

// 0 x inf is NaN: what stays behind the last row of a page must be zero, whoever wrote it.
TEST(Sharing, values_that_are_not_finite_do_not_stay_behind_the_last_row) {
  for (Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
    StoreDesc desc;
    desc.layers = {{1, 4, 4, format, format}};
    desc.isa = test_isa();
    auto store = make_store(desc);
    const std::vector<float> bad(4 * 100, std::numeric_limits<float>::quiet_NaN());
    const auto rows = View<const float, 3>::contiguous(bad.data(), {100, 1, 4});
    for (int way = 0; way < 3; ++way) {
      const SeqId a = *store->create_sequence();
      ASSERT_TRUE(store->begin_append(a, 100).is_ok());
      store->append(a, 0, rows, rows, 0, 1);
      if (way == 0) store->abort(a);
      if (way > 0) store->commit(a);
      const SeqId b = way == 2 ? *store->fork(a) : a;
      ASSERT_TRUE(store->truncate(b, 3).is_ok());
      ASSERT_TRUE(store->check().is_ok()) << store->check().message();
      if (b != a) {
        ASSERT_TRUE(store->drop(a).is_ok());
      }
      ASSERT_TRUE(store->drop(b).is_ok());
    }
    // Released pages come back zeroed.
    const SeqId c = *store->create_sequence();
    ASSERT_TRUE(store->begin_append(c, 1).is_ok());
    ASSERT_TRUE(store->check().is_ok()) << store->check().message();
  }
}

TEST(Sharing, drop_aborts_an_open_transaction_and_frees_everything) {
  auto store = make_store(desc_of());
  const SeqId a = *store->create_sequence();
  append(*store, a, 1, 100);
  const SeqId b = *store->fork(a);
  ASSERT_TRUE(store->begin_append(b, 100).is_ok());
  ASSERT_TRUE(store->drop(a).is_ok());
  ASSERT_TRUE(store->check().is_ok()) << store->check().message();
  ASSERT_TRUE(store->drop(b).is_ok());
  EXPECT_EQ(store->bytes().committed, 0u);
  EXPECT_EQ(store->bytes().arenas, 0u);
}

}  // namespace
}  // namespace heed::test
