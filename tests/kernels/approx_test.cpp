// The stated errors of exp2 and tanh (src/kernels/approx.h), on samples; full/ takes every float.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "isa_list.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

using Function = void (*)(float*, const float*, int);

// Largest relative error where the exact result is a normal number.
double worst(Function f, double (*exact)(double), const std::vector<float>& x) {
  std::vector<float> y(x.size());
  f(y.data(), x.data(), static_cast<int>(x.size()));
  double most = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = exact(x[i]);
    if (std::fabs(want) < std::numeric_limits<float>::min() * 1.5) continue;
    most = std::fmax(most, std::fabs(y[i] - want) / std::fabs(want));
  }
  return most;
}

double exp2_exact(double x) { return std::exp2(x); }
double tanh_exact(double x) { return std::tanh(x); }

std::vector<float> samples(double low, double high, int n) {
  std::vector<float> x;
  for (int i = 0; i < n; ++i) {
    x.push_back(
        static_cast<float>(low + (high - low) * random_uniform(7, static_cast<uint64_t>(i))));
  }
  for (int e = -40; e <= 6; ++e) {
    for (float f : {1.0f, 1.0000001f, 1.5f, 1.9999999f}) {
      const float v = std::copysign(std::ldexp(f, e), static_cast<float>(low));
      if (v >= low && v <= high) x.push_back(v);
    }
  }
  return x;
}

TEST(Approx, exp2_stays_within_its_stated_error) {
  const std::vector<float> x = samples(-126, 0, 1 << 20);
  for (Isa isa : test::tested_isas()) {
    const kernels::Table& t = kernels::table(isa);
    EXPECT_LE(worst(t.exp2_fast, exp2_exact, x), 3.0e-6) << isa_name(isa);
    EXPECT_LE(worst(t.exp2_precise, exp2_exact, x), 1.6e-7) << isa_name(isa);
  }
}

TEST(Approx, exp2_ends_are_exact) {
  const float inf = std::numeric_limits<float>::infinity();
  const float x[] = {0.0f, -0.0f, -inf, -1.0f, -20.0f, -126.0f, -150.0f, -1e4f, -3e38f, NAN};
  float y[10];
  for (Isa isa : test::tested_isas()) {
    for (Function f : {kernels::table(isa).exp2_fast, kernels::table(isa).exp2_precise}) {
      f(y, x, 10);
      EXPECT_EQ(y[0], 1.0f) << isa_name(isa);
      EXPECT_EQ(y[1], 1.0f) << isa_name(isa);
      EXPECT_EQ(y[2], 0.0f) << isa_name(isa);
      EXPECT_EQ(y[3], 0.5f) << isa_name(isa);
      EXPECT_EQ(y[4], 0x1p-20f) << isa_name(isa);
      EXPECT_EQ(y[5], 0x1p-126f) << isa_name(isa);
      for (int i = 6; i < 9; ++i) EXPECT_LE(y[i], 0x1p-126f) << isa_name(isa) << " " << x[i];
      for (int i = 6; i < 9; ++i) EXPECT_GE(y[i], 0.0f) << isa_name(isa) << " " << x[i];
      EXPECT_TRUE(std::isnan(y[9])) << isa_name(isa);
    }
  }
}

TEST(Approx, tanh_stays_within_its_stated_error) {
  std::vector<float> x = samples(-12, 0, 1 << 18);
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  for (Isa isa : test::tested_isas()) {
    EXPECT_LE(worst(kernels::table(isa).tanh, tanh_exact, x), 4e-7) << isa_name(isa);
  }
}

TEST(Approx, tanh_ends_are_exact) {
  const float inf = std::numeric_limits<float>::infinity();
  const float x[] = {0.0f, inf, -inf, 1e30f, -1e30f, NAN};
  float y[6];
  for (Isa isa : test::tested_isas()) {
    kernels::table(isa).tanh(y, x, 6);
    EXPECT_EQ(y[0], 0.0f);
    EXPECT_EQ(y[1], 1.0f);
    EXPECT_EQ(y[2], -1.0f);
    EXPECT_EQ(y[3], 1.0f);
    EXPECT_EQ(y[4], -1.0f);
    EXPECT_TRUE(std::isnan(y[5]));
  }
}

}  // namespace
}  // namespace heed
