// Infinities, NaN, denormals, huge and equal numbers, masks of nothing: the results that
// heed/attention.h documents, on every instruction set and format.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"
#include "isa_list.h"
#include "rounding.h"
#include "tiny_attention.h"

namespace heed::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kD = 16;

struct Variant {
  Isa isa;
  Format format;
};

void PrintTo(const Variant& v, std::ostream* out) {
  *out << isa_name(v.isa) << ' ' << format_name(v.format);
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) all.push_back({isa, static_cast<Format>(f)});
  }
  return all;
}

class SpecialValues : public ::testing::TestWithParam<Variant> {
 protected:
  TinyAttention attention(MaskKind mask = MaskKind::kNone) const {
    TinyAttention a;
    a.isa = GetParam().isa;
    a.format = GetParam().format;
    a.d = kD;
    a.mask = mask;
    return a;
  }

  static std::vector<float> normal(int rows, uint64_t seed) {
    Random random(seed);
    std::vector<float> x(rows * kD);
    for (float& e : x) e = round_bf16(static_cast<float>(random.normal()) / 2);
    return x;
  }

  static bool finite(const std::vector<float>& x, int row) {
    for (int d = 0; d < kD; ++d) {
      if (!std::isfinite(x[row * kD + d])) return false;
    }
    return true;
  }
};

TEST_P(SpecialValues, equal_scores_give_the_mean_and_log_n) {
  for (int keys : {1, 2, 63, 64, 65, 200, 1100}) {
    for (float score : {0.0f, 40.0f, -40.0f}) {
      TinyAttention a = attention();
      std::vector<float> q(kD, 0.0f), k(keys * kD, 1.0f), v(keys * kD, 0.0f);
      q[3] = score;
      for (int j = 0; j < keys; ++j) v[j * kD + 1] = static_cast<float>(j % 2);
      for (int j = 0; j < keys; ++j) v[j * kD + 2] = 3.0f;
      a.run(q, k, v);
      EXPECT_NEAR(a.out[1], static_cast<double>(keys / 2) / keys, 4e-6) << keys;
      EXPECT_NEAR(a.out[2], 3.0, 12e-6) << keys;
      EXPECT_EQ(a.out[0], 0.0f);
      // A query that is rounded to bf16 moves the score by up to 2^-9 of it.
      const bool dot = a.isa == Isa::kAvx512Bf16 && a.format == Format::kBf16;
      const double slack = dot ? 0x1p-9 * std::fabs(score) : 0.0;
      EXPECT_NEAR(a.lse[0], score + std::log(keys), 2e-5 + slack) << keys;
    }
  }
}

TEST_P(SpecialValues, no_keys_give_zero_and_minus_infinity) {
  TinyAttention a = attention();
  a.run(normal(3, 1), {}, {});
  for (float x : a.out) EXPECT_EQ(x, 0.0f);
  for (float x : a.lse) EXPECT_EQ(x, -kInf);
}

TEST_P(SpecialValues, fully_masked_rows_give_zero_and_minus_infinity) {
  TinyAttention a = attention();
  a.tile_masks = {0, 0, ~uint64_t{0}, 1, 0, 2, 0, 0};  // 4 rows x 2 pages
  a.run(normal(4, 1), normal(100, 2), normal(100, 3));
  for (int row : {0, 3}) {
    EXPECT_EQ(a.lse[row], -kInf);
    for (int d = 0; d < kD; ++d) EXPECT_EQ(a.out[row * kD + d], 0.0f);
  }
  // Row 2 reads slot 65 alone: its value, exactly as stored.
  EXPECT_TRUE(std::isfinite(a.lse[1]));
  const std::vector<float> v = normal(100, 3);
  for (int d = 0; d < kD; ++d) {
    EXPECT_EQ(a.out[2 * kD + d], round_to(GetParam().format, v[65 * kD + d]));
  }
}

TEST_P(SpecialValues, queries_before_every_key_see_nothing_unless_there_is_a_sink) {
  const float sink = 1.5f;
  for (const float* s : {static_cast<const float*>(nullptr), &sink}) {
    TinyAttention a = attention(MaskKind::kCausal);
    a.sink = s;
    a.run(normal(70, 1), normal(5, 2), normal(5, 3));  // rows 0..64 lie before position 0
    for (int row = 0; row < 65; ++row) {
      EXPECT_EQ(a.lse[row], s ? 1.5f : -kInf) << row;
      for (int d = 0; d < kD; ++d) EXPECT_EQ(a.out[row * kD + d], 0.0f) << row;
    }
    EXPECT_TRUE(std::isfinite(a.lse[65]));
    EXPECT_NE(a.out[65 * kD], 0.0f);
  }
}

TEST_P(SpecialValues, a_query_that_is_not_finite_spoils_its_own_row_only) {
  for (float bad : {kNaN, kInf, -kInf}) {
    TinyAttention good = attention(MaskKind::kCausal), mixed = attention(MaskKind::kCausal);
    std::vector<float> q = normal(9, 1);
    good.run(q, normal(80, 2), normal(80, 3));
    q[4 * kD + 7] = bad;
    mixed.run(q, normal(80, 2), normal(80, 3));
    for (int row = 0; row < 9; ++row) {
      if (row == 4) {
        EXPECT_FALSE(finite(mixed.out, row)) << bad;
        continue;
      }
      EXPECT_EQ(std::memcmp(&mixed.out[row * kD], &good.out[row * kD], kD * sizeof(float)), 0);
      EXPECT_EQ(mixed.lse[row], good.lse[row]);
    }
  }
}

TEST_P(SpecialValues, a_key_that_is_nan_spoils_the_rows_that_see_it) {
  TinyAttention good = attention(MaskKind::kCausal), mixed = attention(MaskKind::kCausal);
  std::vector<float> k = normal(80, 2);
  good.run(normal(80, 1), k, normal(80, 3));
  k[40 * kD + 2] = kNaN;
  mixed.run(normal(80, 1), k, normal(80, 3));
  for (int row = 0; row < 80; ++row) {
    if (row >= 40) {
      EXPECT_FALSE(finite(mixed.out, row)) << row;
      continue;
    }
    EXPECT_EQ(std::memcmp(&mixed.out[row * kD], &good.out[row * kD], kD * sizeof(float)), 0) << row;
  }
}

TEST_P(SpecialValues, a_value_that_is_not_finite_is_not_hidden) {
  for (float bad : {kNaN, kInf, -kInf}) {
    TinyAttention a = attention();
    std::vector<float> v = normal(80, 3);
    v[70 * kD + 5] = bad;
    a.run(normal(3, 1), normal(80, 2), v);
    for (int row = 0; row < 3; ++row) {
      EXPECT_FALSE(std::isfinite(a.out[row * kD + 5])) << bad;
      EXPECT_TRUE(std::isfinite(a.out[row * kD + 4])) << "other columns keep their value";
    }
  }
}

TEST_P(SpecialValues, a_score_that_overflows_is_not_hidden) {
  TinyAttention a = attention();
  a.scale = 1e38f;
  std::vector<float> q(kD, 100.0f), k(2 * kD, 1.0f);
  for (int d = 0; d < kD; ++d) k[d] = 100.0f;
  a.run(q, k, normal(2, 3));
  EXPECT_FALSE(finite(a.out, 0));
}

TEST_P(SpecialValues, huge_scores_choose_one_key) {
  TinyAttention a = attention();
  a.scale = 1e30f;
  std::vector<float> k = normal(70, 2), q(kD, 0.0f);
  q[0] = 1.0f;
  for (int j = 0; j < 70; ++j) k[j * kD] = j == 66 ? 4.0f : 2.0f;
  const std::vector<float> v = normal(70, 3);
  a.run(q, k, v);
  for (int d = 0; d < kD; ++d) EXPECT_EQ(a.out[d], round_to(GetParam().format, v[66 * kD + d]));
  EXPECT_NEAR(a.lse[0] / 4e30f, 1.0, 4e-3);  // a bf16 query rounds the score
}

TEST_P(SpecialValues, huge_values_stay_finite_where_the_format_holds_them) {
  TinyAttention a = attention();
  std::vector<float> v(70 * kD, 1e30f);
  a.run(normal(2, 1), normal(70, 2), v);
  const float stored = round_to(GetParam().format, 1e30f);
  for (float x : a.out) {
    if (std::isinf(stored)) {
      EXPECT_FALSE(std::isfinite(x)) << "f16 ends at 65504";
    } else {
      EXPECT_NEAR(x / stored, 1.0, 1e-5 + 0x1p-8);
    }
  }
}

TEST_P(SpecialValues, denormals_are_zero_or_themselves) {
  // The bf16 dot instruction reads denormals as zero, everything else keeps them.
  const bool flushes = GetParam().isa == Isa::kAvx512Bf16 && GetParam().format == Format::kBf16;
  const float tiny = GetParam().format == Format::kF16 ? 0x1p-20f : 0x1p-130f;
  TinyAttention a = attention();
  a.run(std::vector<float>(kD, tiny), std::vector<float>(3 * kD, tiny),
        std::vector<float>(3 * kD, tiny));
  for (float x : a.out) {
    if (flushes) {
      EXPECT_EQ(x, 0.0f);
    } else {
      EXPECT_NEAR(x / tiny, 1.0, 1e-4);
    }
  }
  EXPECT_NEAR(a.lse[0], std::log(3.0), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(All, SpecialValues, ::testing::ValuesIn(variants()), [](const auto& info) {
  return std::string(isa_name(info.param.isa)) + "_" + format_name(info.param.format);
});

}  // namespace
}  // namespace heed::test
