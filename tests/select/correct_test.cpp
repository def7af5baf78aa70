// Corrections: delta by its identities and chunk by chunk, masses and value means by their
// formulas.
#include "select/correct.h"

#include <cmath>

#include "select/reference.h"
#include "select_problem.h"

namespace heed::test {
namespace {

using namespace heed::select;

struct Rows {
  int t, heads, dv;
  std::vector<float> data;
  Rows(int rows, int heads_in, int dv_in, uint64_t seed)
      : t(rows), heads(heads_in), dv(dv_in), data(int64_t{rows} * heads * dv) {
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<float>(random_normal(seed, i));
    }
  }
  float& at(int64_t row, int64_t h, int64_t d) { return data[(row * heads + h) * dv + d]; }
};

// Corrects `sparse` chunk by chunk, as a prefill does: dense rows that are no anchors come dense.
std::vector<float> corrected(Rows sparse, Rows& dense, const DeltaRows& rows, int64_t first,
                             const std::vector<int>& chunks, Isa isa) {
  std::vector<float> carry(int64_t{sparse.heads} * sparse.dv, 0.0f);
  int64_t at = 0;
  for (int n : chunks) {
    std::vector<float> anchors;
    for (int64_t t = at; t < at + n; ++t) {
      const int64_t position = first + t;
      if (rows.is_anchor(position)) {
        anchors.insert(anchors.end(), &dense.at(t, 0, 0),
                       &dense.at(t, 0, 0) + dense.heads * dense.dv);
      } else if (rows.is_dense(position)) {
        std::copy_n(&dense.at(t, 0, 0), dense.heads * dense.dv, &sparse.at(t, 0, 0));
      }
    }
    const auto count = static_cast<int64_t>(anchors.size()) / (dense.heads * dense.dv);
    EXPECT_EQ(count, anchor_count(rows, first + at, n));
    const auto out = View<float, 3>::contiguous(&sparse.at(at, 0, 0), {n, sparse.heads, sparse.dv});
    const auto view =
        View<const float, 3>::contiguous(anchors.data(), {count, dense.heads, dense.dv});
    for (int h = 0; h < sparse.heads; ++h) {
      delta_correct(rows, first + at, out, view, carry.data(), isa, h);
    }
    at += n;
  }
  return sparse.data;
}

TEST(Delta, equals_the_formula_however_the_prompt_is_cut) {
  for (Isa isa : tested_isas()) {
    for (const auto& [gamma, first] : {std::pair{64, 0}, {16, 0}, {48, 100}, {64, 7}}) {
      const int t = 500;
      Rows sparse(t, 2, 80, 1), dense(t, 2, 80, 2);
      const DeltaRows rows = delta_rows(gamma, first, first + t);
      const auto whole = corrected(sparse, dense, rows, first, {t}, isa);
      EXPECT_EQ(whole, corrected(sparse, dense, rows, first, {100, 1, 1, 63, 135, 200}, isa));
      for (int64_t i = 0; i < t; ++i) {
        const int64_t p = first + i, anchor = p / gamma * gamma - first;
        for (int64_t h = 0; h < 2; ++h) {
          for (int64_t d = 0; d < 80; ++d) {
            const double difference =
                anchor < 0 ? 0 : double{dense.at(anchor, h, d)} - sparse.at(anchor, h, d);
            const double want =
                rows.is_dense(p) ? dense.at(i, h, d) : sparse.at(i, h, d) + difference;
            const double got = whole[(i * 2 + h) * 80 + d];
            if (rows.is_dense(p)) {
              ASSERT_EQ(got, want) << p;
            } else {
              ASSERT_NEAR(got, want, 1e-6) << p;
            }
          }
        }
      }
    }
  }
}

TEST(Delta, rows_are_those_of_the_paper) {
  // cut = (T mod gamma) + max(128, gamma)
  for (int64_t gamma : {1, 16, 64, 128, 256}) {
    for (int64_t t : {1, 100, 128, 129, 200, 1000, 4096, 5001}) {
      const DeltaRows rows = delta_rows(gamma, 0, t);
      const int64_t kept = t - (t % gamma + std::max<int64_t>(128, gamma));
      ASSERT_EQ(rows.tail, std::max<int64_t>(kept, 0)) << gamma << " " << t;
      int32_t anchors = 0;
      for (int64_t p = 0; p < t; ++p) {
        ASSERT_EQ(rows.is_dense(p), kept <= 0 || p >= kept || p % gamma == 0);
        anchors += rows.is_anchor(p);
      }
      ASSERT_EQ(anchor_count(rows, 0, static_cast<int32_t>(t)), anchors);
      if (anchors > 1) {
        ASSERT_EQ(next_anchor(rows, 1), gamma);
      }
    }
  }
}

TEST(Delta, gamma_one_and_a_dense_base_give_dense_and_a_constant_difference_is_undone) {
  const Isa isa = tested_isas().back();
  Rows sparse(400, 2, 64, 3), dense(400, 2, 64, 4);
  EXPECT_EQ(corrected(sparse, dense, delta_rows(1, 0, 400), 0, {400}, isa), dense.data);
  EXPECT_EQ(corrected(dense, dense, delta_rows(64, 0, 400), 0, {400}, isa), dense.data);
  Rows shifted = dense;
  for (int64_t i = 0; i < 400; ++i) {
    for (int64_t d = 0; d < 64; ++d) shifted.at(i, 1, d) += 0.25f * static_cast<float>(i / 64 + d);
  }
  const auto back = corrected(shifted, dense, delta_rows(64, 0, 400), 0, {400}, isa);
  for (size_t i = 0; i < back.size(); ++i) ASSERT_NEAR(back[i], dense.data[i], 1e-5);
}

// Attention over the kept half of a row's keys, then corrected.
TEST(Mass, denominator_gives_dense_probabilities_and_the_value_mean_fills_up_to_one) {
  std::vector<double> scores(50), values(50);
  double kept = 0, all = 0, sum = 0, out_kept = 0;
  for (int j = 0; j < 50; ++j) {
    scores[j] = random_normal(9, j);
    values[j] = random_normal(10, j);
    all += std::exp(scores[j]);
    sum += values[j];
    if (j % 2 == 0) {
      kept += std::exp(scores[j]);
      out_kept += std::exp(scores[j]) * values[j];
    }
  }
  const auto kept_lse = static_cast<float>(std::log(kept));
  const auto missing = static_cast<float>(std::log(all - kept));
  const auto all_lse = static_cast<float>(std::log(all));
  EXPECT_NEAR(add_lse(kept_lse, missing), all_lse, 1e-6);
  const float mass = kept_mass(kept_lse, all_lse);
  EXPECT_NEAR(mass, kept / all, 1e-6);
  float row[] = {static_cast<float>(out_kept / kept)};
  scale_row(row, 1, mass);
  EXPECT_NEAR(row[0], out_kept / all, 1e-6);
  const float mean[] = {static_cast<float>(sum / 50)};
  add_value_mean(row, 1, mass, mean);
  EXPECT_NEAR(row[0], out_kept / all + (1 - kept / all) * sum / 50, 1e-6);
  // Constant values come back exactly that large.
  float constant[] = {2.5f};
  const float same[] = {2.5f};
  scale_row(constant, 1, mass);
  add_value_mean(constant, 1, mass, same);
  EXPECT_NEAR(constant[0], 2.5, 1e-6);
}

TEST(Mass, ends_are_safe) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(kept_mass(-inf, -inf), 1.0f);
  EXPECT_EQ(kept_mass(-inf, 3.0f), 0.0f);
  EXPECT_EQ(kept_mass(3.0001f, 3.0f), 1.0f);
  EXPECT_EQ(add_lse(-inf, -inf), -inf);
  EXPECT_EQ(add_lse(-inf, 2.0f), 2.0f);
  EXPECT_EQ(log_missing(0.05, 0, 1.0f), -inf);
  EXPECT_NEAR(log_missing(0.5, 10, 1.0f), std::log(5 * std::exp(1.0)), 1e-6);
}

TEST(ValueMean, runs_over_the_live_slots_of_every_format) {
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      SelectProblem p({.isa = isa,
                       .format = static_cast<Format>(f),
                       .heads = 1,
                       .dk = 80,
                       .slots = 300,
                       .live = true});
      std::vector<double> sum(80, 0.0), want(80, 0.0);
      std::vector<float> mean(80);
      ValueMean means(p.store(), static_cast<Format>(f), 80, isa, sum.data());
      int64_t done = 0, count = 0;
      for (int32_t end : {0, 1, 63, 64, 65, 200, 200, 300, 900}) {
        means.advance(p.list(0), end, mean.data());
        for (; done < std::min(end, 300); ++done) {
          if (!reference::live(p.list(0), done)) continue;
          ++count;
          for (int d = 0; d < 80; ++d)
            want[d] += p.k(0)[done * 80 + d];  // values are the keys here
        }
        for (int d = 0; d < 80; ++d) {
          ASSERT_NEAR(mean[d], count > 0 ? want[d] / static_cast<double>(count) : 0, 1e-6);
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed::test
