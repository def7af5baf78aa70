// Append: the bytes of the pages depend on the rows only, not on threads, chunks, strides or
// pieces.
#include <algorithm>
#include <thread>

#include "store_model.h"

namespace heed::test {
namespace {

std::vector<uint64_t> ids(int n) {
  std::vector<uint64_t> out(n);
  for (int i = 0; i < n; ++i) out[i] = 1 + i;
  return out;
}

class Append : public ::testing::TestWithParam<Format> {
 protected:
  void SetUp() override {
    desc_.layers = {{3, 18, 10, GetParam(), GetParam()}, {1, 20, 12, GetParam(), GetParam(), true}};
    desc_.isa = test_isa();
    store_ = make_store(desc_);
    ASSERT_NE(store_, nullptr);
  }

  // Page bytes without handles.
  std::vector<uint8_t> image(SeqId seq) const {
    std::vector<uint8_t> out;
    for (size_t l = 0; l < desc_.layers.size(); ++l) {
      const LayerShape& shape = desc_.layers[l];
      const kernels::FormatOps& ops = kernels::format_ops(desc_.isa, shape.k);
      for (int g = 0; g < shape.kv_heads; ++g) {
        const ListView& view = store_->lists(seq, static_cast<int>(l))[g];
        for (int p = 0; p * kPageTokens < view.len; ++p) {
          const auto* k = static_cast<const uint8_t*>(store_->k_page(view.pages[p]));
          out.insert(out.end(), k, k + ops.k_bytes(shape.dk));
          if (shape.v_aliases_k) continue;
          const auto* v = static_cast<const uint8_t*>(store_->v_page(view.pages[p]));
          out.insert(out.end(), v, v + ops.v_bytes(shape.dv));
        }
      }
    }
    return out;
  }

  // Appends all of `rows` in chunks, each by `threads` threads.
  SeqId sequence(const std::vector<uint64_t>& rows, const std::vector<int>& chunks, int threads,
                 int pad = 0) {
    const SeqId seq = *store_->create_sequence();
    size_t at = 0;
    for (size_t c = 0; at < rows.size(); ++c) {
      const size_t n = std::min<size_t>(chunks[c % chunks.size()], rows.size() - at);
      const std::vector<uint64_t> part(rows.begin() + at, rows.begin() + at + n);
      EXPECT_TRUE(store_->begin_append(seq, static_cast<int>(n)).is_ok());
      for (int l = 0; l < static_cast<int>(desc_.layers.size()); ++l) {
        const Rows input = make_rows(desc_.layers[l], l, part, pad);
        std::vector<std::thread> team;
        for (int m = 0; m < threads; ++m) {
          team.emplace_back(
              [&, m] { store_->append(seq, l, input.k_view, input.v_view, m, threads); });
        }
        for (std::thread& t : team) t.join();
      }
      store_->commit(seq);
      at += n;
    }
    return seq;
  }

  StoreDesc desc_;
  std::unique_ptr<Store> store_;
};

TEST_P(Append, threads_and_chunks_write_the_same_bytes) {
  const std::vector<uint64_t> rows = ids(333);
  const std::vector<uint8_t> expected = image(sequence(rows, {333}, 1));
  for (int threads : {1, 2, 3}) {
    for (const std::vector<int>& chunks :
         std::vector<std::vector<int>>{{333}, {1}, {64}, {63, 2, 65}, {7, 130}}) {
      EXPECT_EQ(image(sequence(rows, chunks, threads)), expected);
    }
  }
}

TEST_P(Append, strided_rows_equal_contiguous_ones) {
  const std::vector<uint64_t> rows = ids(131);
  EXPECT_EQ(image(sequence(rows, {131}, 2, 5)), image(sequence(rows, {131}, 1, 0)));
}

TEST_P(Append, rows_in_pieces_equal_one_append) {
  const std::vector<uint64_t> rows = ids(131);
  const std::vector<uint8_t> expected = image(sequence(rows, {131}, 1));
  const SeqId seq = *store_->create_sequence();
  ASSERT_TRUE(store_->begin_append(seq, 131).is_ok());
  for (int l = 0; l < static_cast<int>(desc_.layers.size()); ++l) {
    const Rows in = make_rows(desc_.layers[l], l, rows, 0);
    const bool alias = desc_.layers[l].v_aliases_k;
    for (int g = 0; g < desc_.layers[l].kv_heads; ++g) {
      for (int i = 0, n = 1; i < 131; i += n, n = std::min(n + 4, 131 - i)) {
        store_->append_rows(seq, l, g, i, n, &in.k_view(i, g, 0), in.k_view.stride[0],
                            alias ? nullptr : &in.v_view(i, g, 0), in.v_view.stride[0]);
      }
    }
  }
  store_->commit(seq);
  EXPECT_EQ(image(seq), expected);
}

INSTANTIATE_TEST_SUITE_P(Formats, Append,
                         ::testing::Values(Format::kF32, Format::kF16, Format::kBf16),
                         [](const auto& info) { return format_name(info.param); });

TEST(Formats, names_are_read_back_and_unknown_ones_refused) {
  for (int i = 0; i < kFormatCount; ++i) {
    const auto format = static_cast<Format>(i);
    const Result<Format> parsed = parse_format(format_name(format));
    ASSERT_TRUE(parsed.is_ok());
    EXPECT_EQ(*parsed, format);
  }
  const Result<Format> bad = parse_format("q3_k");
  EXPECT_EQ(bad.code(), Code::kInvalidArgument);
  EXPECT_NE(bad.message().find("q3_k"), std::string::npos);
}

}  // namespace
}  // namespace heed::test
