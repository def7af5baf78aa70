// What a node takes in beside its product: a norm before it, several weights, bias, residual and
// the gated pair. Each against the plain steps in fp64 or, where the arithmetic is the same, bit
// for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "isa_list.h"
#include "kernels/kernels.h"
#include "linear/product.h"

namespace heed {
namespace {

struct Release {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Bytes = std::unique_ptr<uint8_t, Release>;

Bytes aligned_bytes(int64_t n) {
  return Bytes(
      static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>((n + 63) / 64 * 64))));
}

std::vector<float> normals(size_t n, uint64_t seed, double scale = 1) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(scale * random_normal(seed, i));
  return x;
}

PackedWeight f32_weight(const std::vector<float>& rows, int64_t outputs, int64_t inputs) {
  auto weight = PackedWeight::create(WeightType::kF32, outputs, inputs);
  EXPECT_TRUE(weight.is_ok()) << weight.message();
  weight->fill(rows.data(), 0, weight->groups());
  return std::move(*weight);
}

class Fused : public ::testing::TestWithParam<Isa> {
 protected:
  static constexpr int64_t kRows = 1029, kInputs = 96, kOutputs = 160;
  static constexpr int kMembers = 3;

  Isa isa() const { return GetParam(); }

  // fn(member, worker) by all members.
  void by_all(const std::function<void(int, const Worker&)>& fn) {
    const int64_t each = (product_scratch_bytes(kOutputs) + 63) / 64 * 64;
    const Bytes scratch = aligned_bytes(each * kMembers);
    ProductCounter counter;
    cpu::Team team(kMembers);
    team.run([&](int member, int members) {
      fn(member, {scratch.get() + each * member, &counter, members});
    });
    EXPECT_EQ(counter.next.load(), 0);
  }

  Bytes packed(InputForm form, const float* x, int64_t rows, int64_t inputs,
               const float* norm = nullptr, float eps = 0) {
    Bytes out = aligned_bytes(packed_input_bytes(form, rows, inputs));
    const Input input{x, inputs, rows, inputs, norm, eps};
    by_all([&](int member, const Worker& worker) {
      pack_inputs(isa(), form, out.get(), input, worker.scratch, member, worker.members);
    });
    return out;
  }

  std::vector<float> multiplied(const PackedWeight& weight, const void* x, int64_t rows,
                                const float* bias = nullptr, const float* residual = nullptr) {
    std::vector<float> y(static_cast<size_t>(rows * weight.outputs()));
    const Product product{&weight, x, y.data(), weight.outputs(), bias, residual, weight.outputs()};
    by_all([&](int, const Worker& worker) { multiply(isa(), {&product, 1}, rows, worker); });
    return y;
  }

  const std::vector<float> x_ = normals(kRows * kInputs, 1);
  const std::vector<float> norm_ = normals(kInputs, 2);
  const std::vector<float> matrix_ = normals(kOutputs * kInputs, 3, 0.1);
  const std::vector<float> other_ = normals(kOutputs * kInputs, 4, 0.1);
  const std::vector<float> bias_ = normals(kOutputs, 5), other_bias_ = normals(kOutputs, 6);
};

// Of the sum: a rounding a term of a chain, 4 chains and the lanes, halved by the root; 6 behind
// it.
TEST_P(Fused, a_norm_before_the_product_is_the_norm) {
  constexpr float kEps = 1e-5f;
  const kernels::LinearTable& table = kernels::linear_table(isa());
  for (const int n : {1, 3, 16, 31, 64, 65, 96, 576}) {
    const std::vector<float> x = normals(static_cast<size_t>(n), 7, 3),
                             w = normals(static_cast<size_t>(n), 8);
    std::vector<float> y(static_cast<size_t>(n) + 1, 77.0f);
    table.rms_norm(y.data(), x.data(), w.data(), n, kEps);
    const double limit = ((n / 64 + 20) / 2.0 + 6) * 0x1p-24;
    double sum = 0;
    for (const float v : x) sum += static_cast<double>(v) * v;
    const double scale = 1 / std::sqrt(sum / n + static_cast<double>(kEps));
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      const double exact = static_cast<double>(x[at]) * scale * static_cast<double>(w[at]);
      EXPECT_NEAR(y[at], exact, limit * std::fabs(exact)) << n << " " << i;
    }
    EXPECT_EQ(y[static_cast<size_t>(n)], 77.0f);
  }
}

TEST_P(Fused, packing_norms_each_row_by_itself) {
  std::vector<float> normed(x_.size());
  for (int64_t r = 0; r < kRows; ++r) {
    kernels::linear_table(isa()).rms_norm(normed.data() + r * kInputs, x_.data() + r * kInputs,
                                          norm_.data(), kInputs, 1e-6f);
  }
  for (const InputForm form : {InputForm::kBytes, InputForm::kFloats, InputForm::kPairs}) {
    const auto size = static_cast<size_t>(
        kRows / kTileRows * (kInputs / 32) *
        static_cast<int64_t>(kernels::linear_table(isa()).block_bytes[static_cast<int>(form)]));
    const Bytes once = packed(form, x_.data(), kRows, kInputs, norm_.data(), 1e-6f);
    const Bytes twice = packed(form, normed.data(), kRows, kInputs);
    EXPECT_EQ(std::memcmp(once.get(), twice.get(), size), 0) << static_cast<int>(form);
    const Bytes plain = packed(form, x_.data(), kRows, kInputs);
    EXPECT_NE(std::memcmp(once.get(), plain.get(), size), 0) << "the norm did nothing";
  }
}

TEST_P(Fused, bias_and_residual_are_added_behind_the_sum) {
  const PackedWeight weight = f32_weight(matrix_, kOutputs, kInputs);
  const Bytes x = packed(InputForm::kFloats, x_.data(), kRows, kInputs);
  const std::vector<float> residual = normals(kRows * kOutputs, 9);
  const std::vector<float> plain = multiplied(weight, x.get(), kRows);
  const std::vector<float> all = multiplied(weight, x.get(), kRows, bias_.data(), residual.data());
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_EQ(all[i], (plain[i] + bias_[i % kOutputs]) + residual[i]) << i;
  }
}

TEST_P(Fused, several_weights_at_once_are_each_alone) {
  const PackedWeight a = f32_weight(matrix_, kOutputs, kInputs);
  const PackedWeight b = f32_weight(other_, 40, kInputs);  // the last group is not full
  const PackedWeight c = f32_weight(other_, 96, kInputs);
  const Bytes x = packed(InputForm::kFloats, x_.data(), kRows, kInputs);
  for (const int64_t rows : {int64_t{1}, int64_t{7}, kRows}) {
    const int64_t stride = kOutputs + 40 + 96;
    std::vector<float> y(static_cast<size_t>(rows * stride));
    const Product products[] = {{&a, x.get(), y.data(), stride},
                                {&b, x.get(), y.data() + kOutputs, stride, bias_.data()},
                                {&c, x.get(), y.data() + kOutputs + 40, stride}};
    by_all([&](int, const Worker& worker) { multiply(isa(), products, rows, worker); });
    const std::vector<float> ya = multiplied(a, x.get(), rows), yc = multiplied(c, x.get(), rows);
    const std::vector<float> yb = multiplied(b, x.get(), rows, bias_.data());
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = y.data() + r * stride;
      ASSERT_EQ(std::memcmp(row, ya.data() + r * kOutputs, kOutputs * 4), 0) << r;
      ASSERT_EQ(std::memcmp(row + kOutputs, yb.data() + r * 40, 40 * 4), 0) << r;
      ASSERT_EQ(std::memcmp(row + kOutputs + 40, yc.data() + r * 96, 96 * 4), 0) << r;
    }
  }
}

double exact_gate(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// exp2 (1.6e-7) and tanh (4e-7) with a few roundings of 6e-8, relative to the value or, where gelu
// nearly vanishes, to |x|; and silu's exponent x log2(e) is rounded, twice 2^-24 of |x| with
// log2(e) itself.
TEST_P(Fused, activations_are_exact_to_rounding) {
  const kernels::LinearTable& table = kernels::linear_table(isa());
  std::vector<float> x(32 * 4096 + 5);  // the last vector is not full
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(random_normal(11, i) * std::exp2(static_cast<double>(i % 24) - 16));
  }
  const std::vector<float> ones(x.size(), 1.0f);
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    std::vector<float> y = x;
    table.gate[static_cast<int>(activation)](y.data(), ones.data(), static_cast<int>(y.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double in = x[i], exact = exact_gate(activation, in);
      const double limit = activation == Activation::kSilu
                               ? (1e-6 + 2 * 0x1p-24 * std::fabs(in)) * std::fabs(exact)
                               : 1e-6 * std::fabs(in);
      ASSERT_NEAR(y[i], exact, limit + 0x1p-126 * std::fabs(in)) << in;
    }
  }
}

// The gate of gpt-oss, with `up` on both sides of its limits too.
TEST_P(Fused, the_clamped_activation_is_exact_to_rounding) {
  const kernels::LinearTable& table = kernels::linear_table(isa());
  std::vector<float> x(32 * 4096 + 5), up(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(random_normal(11, i) * std::exp2(static_cast<double>(i % 20) - 12));
    up[i] = static_cast<float>(random_normal(12, i) * 5);
  }
  x[0] = 7, x[1] = std::nextafter(7.0f, 8.0f), up[2] = -7, up[3] = 7, up[4] = -1;
  std::vector<float> y = x;
  table.gate[static_cast<int>(Activation::kClampedSilu)](y.data(), up.data(),
                                                         static_cast<int>(y.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    const double in = std::min<double>(x[i], 7), u = std::clamp<double>(up[i], -7, 7);
    const double exact = in / (1 + std::exp(-1.702 * in)) * (u + 1);
    const double limit = (1e-6 + 4 * 0x1p-24 * std::fabs(in)) * std::fabs(exact);
    ASSERT_NEAR(y[i], exact, limit + 0x1p-126 * std::fabs(in * (u + 1))) << x[i] << " " << up[i];
  }
}

TEST_P(Fused, no_activation_hides_a_nan) {
  const kernels::LinearTable& table = kernels::linear_table(isa());
  for (int a = 0; a < kernels::kActivations; ++a) {
    for (const int nan_at : {0, 1}) {
      float gate = nan_at == 0 ? NAN : 2.0f;
      const float up = nan_at == 1 ? NAN : 2.0f;
      table.gate[a](&gate, &up, 1);
      EXPECT_TRUE(std::isnan(gate)) << a << " " << nan_at;
    }
  }
}

// The gated pair is products, activation and packing one after the other, bit for bit.
TEST_P(Fused, a_gated_pair_is_its_steps) {
  const PackedWeight gate = f32_weight(matrix_, kOutputs, kInputs);
  const PackedWeight up = f32_weight(other_, kOutputs, kInputs);
  const Bytes x = packed(InputForm::kFloats, x_.data(), kRows, kInputs);
  const kernels::LinearTable& table = kernels::linear_table(isa());
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kClampedSilu}) {
    for (const InputForm form : {InputForm::kBytes, InputForm::kFloats, InputForm::kPairs}) {
      for (const int64_t rows : {int64_t{1}, int64_t{6}, kRows}) {
        const auto size =
            static_cast<size_t>((rows + 3) / kTileRows * (kOutputs / 32) *
                                static_cast<int64_t>(table.block_bytes[static_cast<int>(form)]));
        const Bytes out = aligned_bytes(packed_input_bytes(form, rows, kOutputs));
        std::memset(out.get(), 0, size);
        const GatedProduct pair{&gate,      &up,          x.get(),
                                x.get(),    bias_.data(), other_bias_.data(),
                                activation, form,         out.get()};
        by_all([&](int, const Worker& worker) { multiply_gated(isa(), pair, rows, worker); });

        std::vector<float> g = multiplied(gate, x.get(), rows, bias_.data());
        const std::vector<float> u = multiplied(up, x.get(), rows, other_bias_.data());
        table.gate[static_cast<int>(activation)](g.data(), u.data(), static_cast<int>(g.size()));
        const Bytes steps = aligned_bytes(packed_input_bytes(form, rows, kOutputs));
        std::memset(steps.get(), 0, size);
        pack_inputs(isa(), form, steps.get(), {g.data(), kOutputs, rows, kOutputs}, nullptr, 0, 1);
        ASSERT_EQ(std::memcmp(out.get(), steps.get(), size), 0)
            << static_cast<int>(form) << " " << rows;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Fused, ::testing::ValuesIn(test::tested_product_isas()),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace heed
