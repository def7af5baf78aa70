// Products: a row's bits are its own, whatever else is computed, by whom and where.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "guard_memory.h"
#include "isa_list.h"
#include "kernels/kernels.h"
#include "linear/product.h"
#include "random_weight.h"

namespace heed {
namespace {

using test::holds_floats;

constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_rows(int64_t rows, int64_t inputs, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(rows * inputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random_normal(seed, i));
  return x;
}

struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<uint8_t*>(
            std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64 + 64)))) {
    std::memset(data, 0xA5, static_cast<size_t>((bytes + 63) / 64 * 64 + 64));
  }
  ~Aligned() { std::free(data); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  uint8_t* data;
};

Input input_of(const float* x, int64_t rows, int64_t inputs) {
  Input input;
  input.x = x;
  input.stride = inputs;
  input.rows = rows;
  input.inputs = inputs;
  return input;
}

// y [rows, outputs] of x [rows, inputs] by `members` threads.
std::vector<float> run(Isa isa, const PackedWeight& weight, const float* x, int64_t rows,
                       int members = 1) {
  const InputForm form = weight.input_form();
  const Aligned packed(packed_input_bytes(form, rows, weight.inputs()));
  const int64_t scratch_bytes = (product_scratch_bytes(weight.inputs()) + 63) / 64 * 64;
  const Aligned scratch(scratch_bytes * members);
  std::vector<float> y(static_cast<size_t>(rows * weight.outputs()), kPoison);
  ProductCounter counter;
  cpu::Team team(members);
  team.run([&](int member, int n) {
    pack_inputs(isa, form, packed.data, input_of(x, rows, weight.inputs()),
                scratch.data + scratch_bytes * member, member, n);
  });
  team.run([&](int member, int n) {
    const Product product{&weight, packed.data, y.data(), weight.outputs()};
    multiply(isa, {&product, 1}, rows, {scratch.data + scratch_bytes * member, &counter, n});
  });
  EXPECT_EQ(counter.next.load(), 0);
  return y;
}

// A type and how it is multiplied.
struct Kind {
  WeightType type;
  Precision precision;
};

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (int i = 0; i < kernels::kWeightTypes; ++i) {
    const auto type = static_cast<WeightType>(i);
    kinds.push_back({type, Precision::kUsual});
    if (!holds_floats(type)) kinds.push_back({type, Precision::kAccurate});
  }
  return kinds;
}

class Products : public ::testing::TestWithParam<std::tuple<Kind, Isa>> {
 protected:
  WeightType type() const { return std::get<0>(GetParam()).type; }
  bool accurate() const { return std::get<0>(GetParam()).precision == Precision::kAccurate; }
  Isa isa() const { return std::get<1>(GetParam()); }
  PackedWeight random_weight(int64_t outputs, int64_t inputs, uint64_t seed) const {
    return test::random_weight(type(), std::get<0>(GetParam()).precision, outputs, inputs, seed);
  }
};

TEST_P(Products, a_rows_bits_do_not_depend_on_the_other_rows) {
  const PackedWeight weight = random_weight(70, 256, 3);
  const int64_t most = 512;
  const std::vector<float> x = random_rows(most, 256, 11);
  const std::vector<float> all = run(isa(), weight, x.data(), most);
  for (const int64_t rows : {1, 2, 3, 4, 5, 15, 16, 17, 67}) {
    for (const int64_t first : {int64_t{0}, int64_t{5}, most - rows}) {
      const std::vector<float> some = run(isa(), weight, x.data() + first * 256, rows);
      ASSERT_EQ(std::memcmp(some.data(), all.data() + first * 70, some.size() * sizeof(float)), 0)
          << rows << " rows from " << first;
    }
  }
}

TEST_P(Products, nor_on_the_members) {
  const PackedWeight weight = random_weight(200, 256, 5);
  const std::vector<float> x = random_rows(33, 256, 12);
  const std::vector<float> one = run(isa(), weight, x.data(), 33);
  for (const int members : {2, 3, 7}) {
    const std::vector<float> many = run(isa(), weight, x.data(), 33, members);
    ASSERT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0) << members;
  }
}

TEST_P(Products, a_row_that_is_not_finite_spoils_itself_only) {
  const PackedWeight weight = random_weight(40, 256, 6);
  std::vector<float> x = random_rows(6, 256, 13);
  const std::vector<float> clean = run(isa(), weight, x.data(), 6);
  x[2 * 256 + 17] = std::numeric_limits<float>::quiet_NaN();
  x[4 * 256 + 40] = std::numeric_limits<float>::infinity();
  const std::vector<float> spoilt = run(isa(), weight, x.data(), 6);
  for (int row = 0; row < 6; ++row) {
    for (int o = 0; o < 40; ++o) {
      const size_t at = static_cast<size_t>(row * 40 + o);
      if (row == 2) {
        EXPECT_TRUE(std::isnan(spoilt[at])) << o;
      } else if (row == 4) {
        EXPECT_FALSE(std::isfinite(spoilt[at])) << o;
      } else {
        EXPECT_EQ(std::memcmp(&spoilt[at], &clean[at], 4), 0) << row << " " << o;
      }
    }
  }
}

TEST_P(Products, zeros_and_tiny_rows_give_zeros) {
  const PackedWeight weight = random_weight(33, 256, 6);
  std::vector<float> x(3 * 256, 0.0f);
  for (int i = 0; i < 256; ++i) x[static_cast<size_t>(256 + i)] = 1e-42f;
  for (const float y : run(isa(), weight, x.data(), 3)) EXPECT_NEAR(y, 0.0f, 1e-30f);
}

// Reads of x, the quantised rows and the weight's last group end where they must; y is written
// where it belongs.
TEST_P(Products, nothing_outside_is_touched) {
  const int64_t inputs = 256, outputs = 45;
  const PackedWeight weight = random_weight(outputs, inputs, 8);
  const std::vector<float> rows = random_rows(19, inputs, 14);
  const std::vector<float> expected = run(isa(), weight, rows.data(), 19);
  const test::GuardMemory x(rows.size() * sizeof(float), test::GuardSide::kBehind);
  std::memcpy(x.data(), rows.data(), rows.size() * sizeof(float));
  const InputForm form = weight.input_form();
  const auto tile = kernels::linear_table(isa()).block_bytes[static_cast<int>(form)];
  const test::GuardMemory packed(5 * static_cast<size_t>(inputs / 32) * tile,
                                 test::GuardSide::kBehind);
  const test::GuardMemory scratch(static_cast<size_t>(product_scratch_bytes(inputs)),
                                  test::GuardSide::kBehind);
  const int64_t stride = 50;
  const auto floats = static_cast<size_t>(18 * stride + outputs);
  const test::GuardMemory y(floats * sizeof(float), test::GuardSide::kBehind);
  std::fill_n(y.floats(), floats, kPoison);
  ProductCounter counter;
  auto* const own = static_cast<uint8_t*>(scratch.data());
  pack_inputs(isa(), form, packed.data(), input_of(x.floats(), 19, inputs), own, 0, 1);
  const Product product{&weight, packed.data(), y.floats(), stride};
  multiply(isa(), {&product, 1}, 19, {own, &counter, 1});
  for (int64_t row = 0; row < 19; ++row) {
    EXPECT_EQ(std::memcmp(y.floats() + row * stride, expected.data() + row * outputs,
                          static_cast<size_t>(outputs) * sizeof(float)),
              0);
    for (int64_t o = outputs; row < 18 && o < stride; ++o) {
      EXPECT_TRUE(std::isnan(y.floats()[row * stride + o]));
    }
  }
}

// First the bias, then the residual; both are read to the last output and no further.
TEST_P(Products, bias_and_residual_are_added_behind_the_sum) {
  const int64_t inputs = 256, outputs = 45, stride = 50, residual_stride = 47;
  const PackedWeight weight = random_weight(outputs, inputs, 10);
  const std::vector<float> x = random_rows(37, inputs, 16), bias = random_rows(1, outputs, 17);
  const test::GuardMemory guarded_bias(bias.size() * sizeof(float), test::GuardSide::kBehind);
  std::memcpy(guarded_bias.data(), bias.data(), bias.size() * sizeof(float));
  const Aligned scratch(product_scratch_bytes(inputs));
  for (const int64_t rows : {1, 2, 3, 4, 13, 37}) {
    const Aligned packed(packed_input_bytes(weight.input_form(), rows, inputs));
    pack_inputs(isa(), weight.input_form(), packed.data, input_of(x.data(), rows, inputs),
                scratch.data, 0, 1);
    const std::vector<float> plain = run(isa(), weight, x.data(), rows);
    const std::vector<float> added = random_rows(rows, residual_stride, 18);
    const auto floats = static_cast<size_t>((rows - 1) * residual_stride + outputs);
    const test::GuardMemory residual(floats * sizeof(float), test::GuardSide::kBehind);
    std::memcpy(residual.data(), added.data(), floats * sizeof(float));
    for (const bool with_bias : {false, true}) {
      for (const bool with_residual : {false, true}) {
        std::vector<float> y(static_cast<size_t>(rows * stride), kPoison);
        ProductCounter counter;
        const Product product{&weight,
                              packed.data,
                              y.data(),
                              stride,
                              with_bias ? guarded_bias.floats() : nullptr,
                              with_residual ? residual.floats() : nullptr,
                              residual_stride};
        multiply(isa(), {&product, 1}, rows, {scratch.data, &counter, 1});
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t o = 0; o < stride; ++o) {
            const float is = y[static_cast<size_t>(row * stride + o)];
            if (o >= outputs) {
              ASSERT_TRUE(std::isnan(is)) << rows << " rows: row " << row << " output " << o;
              continue;
            }
            float sum = plain[static_cast<size_t>(row * outputs + o)];
            if (with_bias) sum += bias[static_cast<size_t>(o)];
            if (with_residual) sum += added[static_cast<size_t>(row * residual_stride + o)];
            ASSERT_EQ(is, sum) << rows << " rows: row " << row << " output " << o << ", bias "
                               << with_bias << ", residual " << with_residual;
          }
        }
      }
    }
  }
}

// Integer sums are exact and the chain of fma is the same, so instruction sets with fma agree to
// the last bit, but for bf16, which one of them multiplies in pairs; there x is given in bf16 here,
// so that no ISA rounds it (it rounds weights of codes). Scalar code rounds products and sums
// apart, 2^-24 of each of the chain's terms.
TEST_P(Products, instruction_sets_agree) {
  const PackedWeight weight = random_weight(64, 512, 9);
  std::vector<float> x = random_rows(21, 512, 15);
  for (float& value : x) {
    if (weight.input_form() != InputForm::kPairs) break;
    uint32_t word;
    std::memcpy(&word, &value, 4);
    word &= 0xFFFF0000u;
    std::memcpy(&value, &word, 4);
  }
  const std::vector<float> plain = run(Isa::kScalar, weight, x.data(), 21);
  const std::vector<float> y = run(isa(), weight, x.data(), 21);
  const bool pairs = weight.input_form() == InputForm::kPairs;
  const bool same_chain = isa() != Isa::kScalar && (!pairs || isa() != Isa::kAvx512Bf16);
  if (same_chain && isa_supported(Isa::kAvx2)) {
    const std::vector<float> avx2 = run(Isa::kAvx2, weight, x.data(), 21);
    EXPECT_EQ(std::memcmp(y.data(), avx2.data(), y.size() * sizeof(float)), 0);
  }
  double largest = 0;
  for (const float v : plain) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  const int terms = holds_floats(type()) || accurate() ? 512 : 4 * 512 / 32;
  double limit = terms * std::ldexp(largest, -24);
  // Weights of codes become bf16 too: half a bit in 8 of each of the 512 terms, whose sum grows
  // with the square root of their number; six deviations.
  if (accurate() && isa() == Isa::kAvx512Bf16) limit = 6 * std::ldexp(largest, -9);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], plain[i], limit) << i;
}

INSTANTIATE_TEST_SUITE_P(Types, Products,
                         ::testing::Combine(::testing::ValuesIn(all_kinds()),
                                            ::testing::ValuesIn(test::tested_product_isas())),
                         [](const auto& info) {
                           const Kind& kind = std::get<0>(info.param);
                           return std::string(weight_type_name(kind.type)) +
                                  (kind.precision == Precision::kAccurate ? "_accurate_" : "_") +
                                  isa_name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace heed
