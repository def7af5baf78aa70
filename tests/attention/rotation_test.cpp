// Rotation: angles in fp64, both layouts, composition of positions, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <type_traits>
#include <utility>
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

// Every scaling, from its formula in long double.
struct Scaling {
  const char* name;
  RotarySpec spec;
  std::vector<float> factors;
  std::function<long double(long double theta, int pair)> scaled;
};

constexpr int kTurned = 128;
constexpr long double kTwoPi = 2 * std::numbers::pi_v<long double>;

// Llama 3's: wavelengths beyond 8192 are stretched 8 times, those below 8192 / 4 not at all.
long double llama3(long double theta) {
  const long double share = (8192 / (kTwoPi / theta) - 1) / (4 - 1);
  const long double kept = std::clamp(share, 0.0L, 1.0L);
  return (1 - kept) * theta / 8 + kept * theta;
}

std::vector<Scaling> scalings() {
  std::vector<Scaling> all(5, {"plain", rope(RotaryLayout::kHalves, kTurned), {}, {}});
  for (Scaling& s : all) s.spec.base = 1e6;
  all[0].scaled = [](long double theta, int) { return theta; };
  all[1].name = "linear";
  all[1].spec.scale = 0.25;
  all[1].scaled = [](long double theta, int) { return theta / 4; };
  all[2].name = "YaRN";  // its first and last pair between: base 10^6, 128 dims
  all[2].spec.scale = 0.25;
  all[2].spec.yarn_context = 32768;
  all[2].scaled = [](long double theta, int pair) {
    const long double ramp = std::clamp((pair - 23) / (40 - 23.0L), 0.0L, 1.0L);
    return theta * (1 - ramp) + theta / 4 * ramp;
  };
  all[3].name = "Llama 3's factors";
  for (int i = 0; i < kTurned / 2; ++i) {
    const long double theta = std::pow(1e6L, -2.0L * i / kTurned);
    all[3].factors.push_back(static_cast<float>(theta / llama3(theta)));
  }
  all[3].scaled = [&factors = all[3].factors](long double theta, int pair) {
    EXPECT_NEAR(static_cast<double>(theta / factors[pair] / llama3(theta)), 1, 1e-7);
    return theta / factors[pair];
  };
  all[4].name = "LongRoPE's factors and a linear scale";
  for (int i = 0; i < kTurned / 2; ++i) {
    all[4].factors.push_back(1 + 60.0f * static_cast<float>(i) / kTurned);
  }
  all[4].spec.scale = 0.5;
  all[4].scaled = [&factors = all[4].factors](long double theta, int pair) {
    return theta / 2 / factors[pair];
  };
  for (Scaling& s : all) s.spec.factors = s.factors;
  return all;
}

TEST(Rotation, tables_of_every_scaling_are_their_formula_at_position_a_million) {
  for (const Scaling& s : scalings()) {
    const auto frequencies = rotary_frequencies(s.spec);
    ASSERT_TRUE(frequencies.is_ok()) << frequencies.message();
    const std::vector<int64_t> positions = {1, 4097, 1'000'000};
    std::vector<float> cos(positions.size() * kTurned / 2), sin(cos.size());
    rotary_table(*frequencies, positions, cos.data(), sin.data());
    for (size_t t = 0; t < positions.size(); ++t) {
      for (int i = 0; i < kTurned / 2; ++i) {
        const long double theta = s.scaled(std::pow(1e6L, -2.0L * i / kTurned), i);
        const long double angle = static_cast<long double>(positions[t]) * theta;
        const size_t at = t * kTurned / 2 + static_cast<size_t>(i);
        ASSERT_NEAR(cos[at], static_cast<double>(std::cos(angle)), 1e-7) << s.name << " pair " << i;
        ASSERT_NEAR(sin[at], static_cast<double>(std::sin(angle)), 1e-7) << s.name << " pair " << i;
      }
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

// Latent attention turns the last dims of a key: what lies before them is copied, and they turn as
// if they stood alone.
TEST(Rotation, dims_behind_the_first_turn_as_if_they_stood_alone) {
  for (Isa isa : tested_isas()) {
    for (RotaryLayout layout : {RotaryLayout::kAdjacent, RotaryLayout::kHalves}) {
      constexpr int kDims = 27, kFirst = 10, kTurns = 12;
      const auto frequencies = *rotary_frequencies(rope(layout, kTurns));
      const std::vector<int64_t> positions = {5, 71};
      std::vector<float> cos(kTurns), sin(kTurns), in(2 * kDims), whole(2 * kDims);
      rotary_table(frequencies, positions, cos.data(), sin.data());
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(random_normal(3, i));
      const auto rows = [](auto* data, int64_t d) {
        return View<std::remove_pointer_t<decltype(data)>, 3>{data, {2, 1, d}, {kDims, kDims, 1}};
      };
      const auto* source = std::as_const(in).data();
      rotate_rows(isa, {layout, kTurns, cos.data(), sin.data(), kFirst}, rows(source, kDims),
                  rows(whole.data(), kDims));
      std::vector<float> alone = in;
      rotate_rows(isa, {layout, kTurns, cos.data(), sin.data()},
                  rows(source + kFirst, kDims - kFirst),
                  rows(alone.data() + kFirst, kDims - kFirst));
      EXPECT_EQ(whole, alone);
      rotate_rows(isa, {layout, kTurns, cos.data(), sin.data(), kFirst}, rows(source, kDims),
                  rows(in.data(), kDims));
      EXPECT_EQ(in, whole) << "in place";
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
  spec = rope(RotaryLayout::kHalves, 8);
  spec.yarn_context = 4096;
  EXPECT_TRUE(rotary_frequencies(spec).is_ok());
  spec.yarn_slow = 40;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  spec.yarn_slow = 1;
  spec.base = 1;
  EXPECT_FALSE(rotary_frequencies(spec).is_ok());
  EXPECT_TRUE(rotary_frequencies(rope(RotaryLayout::kNone, 0)).is_ok());
}

}  // namespace
}  // namespace heed::test
