// Properties of the mechanisms that select by position: the generic tests G1 to G6, their bits.
#include "static_selectors.h"

#include <gtest/gtest.h>

#include "isa_list.h"

namespace heed::test {
namespace {

std::vector<PrefillShape> shapes() {
  std::vector<PrefillShape> all{
      {.heads = 2, .kv_heads = 1, .rows = 270},
      {.heads = 3, .kv_heads = 3, .before = 150, .rows = 140},
      {.heads = 6, .kv_heads = 2, .d = 16, .before = 3, .rows = 129},
      {.heads = 2, .kv_heads = 2, .rows = 200, .mask = MaskKind::kWindow, .window = 100},
      {.heads = 2, .kv_heads = 1, .rows = 1},
      {.heads = 14, .kv_heads = 2, .d = 64, .before = 64, .rows = 100},
  };
  for (size_t i = 0; i < all.size(); ++i) all[i].seed = i + 1;
  return all;
}

TEST(StaticSelectors, each_equals_attention_masked_by_its_formula) {
  for (const Setting& setting : settings()) {
    for (PrefillShape shape : shapes()) {
      for (Isa isa : tested_isas()) {
        shape.isa = isa;
        PrefillProblem problem(shape);
        const PrefillOutput got = problem.run(setting.selector.get(), {100, 61});
        const auto want = problem.oracle(setting.of(problem));
        EXPECT_LT(worst_row(got, want, shape.d), 1e-5) << setting.text << " seed " << shape.seed;
      }
    }
  }
}

TEST(StaticSelectors, what_is_left_out_is_not_computed_and_counts_are_the_runs) {
  for (const Setting& setting : settings()) {
    for (const PrefillShape& shape : shapes()) {
      PrefillProblem problem(shape);
      const PrefillOutput got = problem.run(setting.selector.get(), {100});
      EXPECT_EQ(got.tiles, got.said_tiles) << setting.text << " seed " << shape.seed;
      const Formula formula = setting.of(problem);
      for (int h = 0; h < shape.heads; ++h) {
        select::PlanCounts want;
        for (int64_t query = shape.before; query < problem.prompt_end(); ++query) {
          int64_t page = -1;
          for (int64_t key = 0; key <= query; ++key) {
            if (shape.mask == MaskKind::kWindow && query - key >= shape.window) continue;
            if (!formula(h, query, key)) continue;
            want.tiles += key / kPageTokens != page;
            page = key / kPageTokens;
            ++want.pairs;
          }
        }
        const select::PlanCounts& counts = got.counts[static_cast<size_t>(h)];
        EXPECT_EQ(counts.pairs, want.pairs) << setting.text << " seed " << shape.seed;
        EXPECT_EQ(counts.tiles, want.tiles) << setting.text << " seed " << shape.seed;
      }
    }
  }
}

TEST(StaticSelectors, settings_that_leave_nothing_out_equal_dense_bit_for_bit) {
  for (PrefillShape shape : shapes()) {
    for (Isa isa : tested_isas()) {
      for (const Format format : {Format::kF32, Format::kBf16}) {
        shape.isa = isa;
        shape.format = format;
        PrefillProblem problem(shape);
        const PrefillOutput want = problem.run(nullptr);
        const auto limits = {dense(),
                             a_shape({problem.prompt_end(), 0}),
                             a_shape({0, problem.prompt_end()}),
                             a_shape({200, 5000}),
                             tri_shape({4, 4, shape.rows}),
                             block_mask("heed-block-mask 1\nblock 64 64\nrest all\n"),
                             block_mask("heed-block-mask 1\nblock 48 1\n0-99: 0-9999\n")};
        for (const Setting& all : limits) {
          const PrefillOutput got = problem.run(all.selector.get());
          EXPECT_EQ(got.out, want.out) << all.text << " seed " << shape.seed;
          EXPECT_EQ(got.lse, want.lse) << all.text << " seed " << shape.seed;
          EXPECT_EQ(got.tiles, want.tiles) << all.text << " seed " << shape.seed;
          EXPECT_EQ(got.tiles, got.visible.tiles) << all.text << " seed " << shape.seed;
        }
      }
    }
  }
}

TEST(StaticSelectors, chunks_and_threads_change_no_bit) {
  for (const Setting& setting : settings()) {
    for (PrefillShape shape : shapes()) {
      for (Isa isa : tested_isas()) {
        shape.isa = isa;
        shape.format = Format::kBf16;
        PrefillProblem problem(shape);
        const PrefillSelector* selector = setting.selector.get();
        const PrefillOutput one = problem.run(selector, {1 << 20}, 1);
        for (const std::vector<int>& chunks :
             {std::vector<int>{64}, std::vector<int>{1, 100, 7, 33}}) {
          const PrefillOutput many = problem.run(selector, chunks, 2);
          EXPECT_EQ(many.out, one.out) << setting.text << " seed " << shape.seed;
          EXPECT_EQ(many.lse, one.lse) << setting.text << " seed " << shape.seed;
        }
        EXPECT_EQ(problem.run(selector, {1 << 20}, 3).out, one.out) << setting.text;
      }
    }
  }
}

// |o_dense - o_sparse| <= 2 (1 - m) max |v|, m the dense mass on what is read.
TEST(StaticSelectors, the_error_stays_below_what_the_mass_allows) {
  for (const Setting& setting : settings()) {
    PrefillProblem problem({.heads = 4, .kv_heads = 2, .rows = 260, .seed = 11});
    const PrefillOutput got = problem.run(setting.selector.get());
    const auto sparse = problem.oracle(setting.of(problem));
    const auto full = problem.oracle([](int, int64_t, int64_t) { return true; });
    const int d = problem.shape().d;
    for (size_t r = 0; r < sparse.mass.size(); ++r) {
      if (std::isinf(sparse.lse[r])) continue;
      double square = 0;
      for (int i = 0; i < d; ++i) {
        const size_t at = r * static_cast<size_t>(d) + static_cast<size_t>(i);
        square += (got.out[at] - full.out[at]) * (got.out[at] - full.out[at]);
      }
      EXPECT_LE(std::sqrt(square), 2 * (1 - sparse.mass[r]) * problem.longest_value() + 1e-5)
          << setting.text;
    }
  }
}

TEST(StaticSelectors, equal_values_are_the_output_of_rows_that_read_and_0_of_those_that_do_not) {
  for (const Setting& setting : settings()) {
    PrefillProblem problem({.heads = 4, .kv_heads = 2, .rows = 400, .constant_values = true});
    const PrefillOutput got = problem.run(setting.selector.get(), {90});
    const auto want = problem.oracle(setting.of(problem));
    const auto d = static_cast<size_t>(problem.shape().d);
    for (size_t r = 0; r < want.lse.size(); ++r) {
      const bool reads = !std::isinf(want.lse[r]);
      EXPECT_EQ(std::isinf(got.lse[r]), !reads) << setting.text << " row " << r;
      for (size_t i = 0; i < d; ++i) {
        EXPECT_NEAR(got.out[r * d + i], reads ? 0.75f : 0.0f, reads ? 1e-6 : 0) << setting.text;
      }
    }
  }
}

// The tail is dense, what comes before is the A-shape, both to the bit.
TEST(TriShape, its_last_rows_are_dense_and_the_others_an_a_shape) {
  for (PrefillShape shape : shapes()) {
    for (Isa isa : tested_isas()) {
      shape.isa = isa;
      PrefillProblem problem(shape);
      const int n_last = std::min(70, shape.rows);
      const Setting tri = tri_shape({4, 40, n_last}), a = a_shape({4, 40});
      for (const std::vector<int>& chunks : {std::vector<int>{1 << 20}, std::vector<int>{50}}) {
        const PrefillOutput got = problem.run(tri.selector.get(), chunks);
        const PrefillOutput tail = problem.run(nullptr), rest = problem.run(a.selector.get());
        const size_t row = static_cast<size_t>(shape.heads * shape.d);
        const size_t border = static_cast<size_t>(shape.rows - n_last) * row;
        for (size_t i = 0; i < got.out.size(); ++i) {
          ASSERT_EQ(got.out[i], i < border ? rest.out[i] : tail.out[i])
              << "seed " << shape.seed << " at " << i;
        }
      }
      const Setting none = tri_shape({4, 40, 0});
      EXPECT_EQ(problem.run(none.selector.get()).out, problem.run(a.selector.get()).out);
    }
  }
}

TEST(StaticSelectors, parameters_out_of_range_are_refused) {
  EXPECT_NE(make_a_shape({-1, 5}).message().find("a_shape: n_init is -1"), std::string::npos);
  EXPECT_NE(make_a_shape({0, 0}).message().find("nothing is read"), std::string::npos);
  EXPECT_FALSE(make_a_shape({4, int64_t{1} << 40}).is_ok());
  EXPECT_FALSE(make_tri_shape({4, 5, -1}).is_ok());
  EXPECT_FALSE(make_tri_shape({0, 0, 9}).is_ok());
  EXPECT_FALSE(make_tri_shape({-4, 5, 1}).is_ok());
}

}  // namespace
}  // namespace heed::test
