// Rotation: angles in fp64, both layouts, composition of positions, refusals.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "attention/rotation.h"
#include "base/random.h"
#include "isa_list.h"

namespace heed::test {
namespace {

RotarySpec rope(RotaryLayout layout, int n_rot) {
  RotarySpec spec;
  spec.layout = layout;
  spec.n_rot = n_rot;
  return spec;
}

TEST(Rotation, table_is_the_formula_also_at_position_a_million) {
  RotarySpec spec = rope(RotaryLayout::kHalves, 8);
  spec.base = 500000;
  spec.scale = 0.125;
  const float factors[] = {1, 2, 8, 32};
  spec.factors = factors;
  const auto frequencies = rotary_frequencies(spec);
  ASSERT_TRUE(frequencies.is_ok());
  const std::vector<int64_t> positions = {0, 1, 77, 1000003};
  std::vector<float> cos(16), sin(16);
  rotary_table(*frequencies, positions, cos.data(), sin.data());
  for (size_t t = 0; t < 4; ++t) {
    for (size_t i = 0; i < 4; ++i) {
      const long double angle = static_cast<long double>(positions[t]) * 0.125L / factors[i] *
                                std::pow(500000.0L, -2.0L * i / 8);
      EXPECT_NEAR(cos[t * 4 + i], std::cos(angle), 1e-7);
      EXPECT_NEAR(sin[t * 4 + i], std::sin(angle), 1e-7);
    }
  }
}

// <rotate(q, p), rotate(k, s)> depends on p - s only: what makes rotary positions relative.
TEST(Rotation, scores_depend_on_the_distance_only) {
  for (Isa isa : tested_isas()) {
    for (RotaryLayout layout : {RotaryLayout::kAdjacent, RotaryLayout::kHalves}) {
      const int d = 22, n_rot = 18;
      const auto frequencies = *rotary_frequencies(rope(layout, n_rot));
      std::vector<float> q(d), k(d);
      for (size_t i = 0; i < d; ++i) {
        q[i] = static_cast<float>(random_normal(1, i));
        k[i] = static_cast<float>(random_normal(2, i));
      }
      const auto score = [&](int64_t p, int64_t s) {
        const std::vector<int64_t> positions = {p, s};
        std::vector<float> cos(n_rot), sin(n_rot), in = q, out(2 * d);
        in.insert(in.end(), k.begin(), k.end());
        rotary_table(frequencies, positions, cos.data(), sin.data());
        rotate_rows(isa, {layout, n_rot, cos.data(), sin.data()},
                    View<const float, 3>::contiguous(in.data(), {2, 1, d}),
                    View<float, 3>::contiguous(out.data(), {2, 1, d}));
        for (int i = n_rot; i < d; ++i) EXPECT_EQ(out[i], q[i]);  // the rest is copied
        double sum = 0;
        for (int i = 0; i < d; ++i) sum += double{out[i]} * out[d + i];
        return sum;
      };
      EXPECT_NEAR(score(10, 3), score(100010, 100003), 1e-5);
      EXPECT_GT(std::fabs(score(10, 3) - score(10, 4)), 1e-3);
    }
  }
}

TEST(Rotation, in_place_equals_out_of_place) {
  for (Isa isa : tested_isas()) {
    for (RotaryLayout layout : {RotaryLayout::kAdjacent, RotaryLayout::kHalves}) {
      std::vector<float> x(2 * 3 * 70), cos(2 * 35), sin(2 * 35);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random_normal(5, i));
      rotary_table(*rotary_frequencies(rope(layout, 70)), std::vector<int64_t>{5, 6}, cos.data(),
                   sin.data());
      const Rotary rotary{layout, 70, cos.data(), sin.data()};
      std::vector<float> out(x.size());
      const auto in_view = View<const float, 3>::contiguous(x.data(), {2, 3, 70});
      rotate_rows(isa, rotary, in_view, View<float, 3>::contiguous(out.data(), {2, 3, 70}));
      rotate_rows(isa, rotary, in_view, View<float, 3>::contiguous(x.data(), {2, 3, 70}));
      EXPECT_EQ(x, out) << isa_name(isa);
    }
  }
}

TEST(Rotation, impossible_tables_are_refused) {
  EXPECT_FALSE(rotary_frequencies(rope(RotaryLayout::kHalves, 7)).is_ok());
  EXPECT_FALSE(rotary_frequencies(rope(RotaryLayout::kHalves, 0)).is_ok());
  EXPECT_FALSE(rotary_frequencies(rope(RotaryLayout::kHalves, 578)).is_ok());
  RotarySpec spec = rope(RotaryLayout::kHalves, 8);
  spec.base = 0;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  spec = rope(RotaryLayout::kHalves, 8);
  spec.scale = INFINITY;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  spec = rope(RotaryLayout::kHalves, 8);
  const float two[] = {1, 1}, zero[] = {1, 1, 0, 1};
  spec.factors = two;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  spec.factors = zero;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  EXPECT_TRUE(rotary_frequencies(rope(RotaryLayout::kNone, 0)).is_ok());
}

}  // namespace
}  // namespace heed::test
