// Products of experts: every row has the bits of the same row multiplied alone.
#include "linear/expert_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "isa_list.h"
#include "kernels/kernels.h"
#include "random_weight.h"

namespace heed {
namespace {

constexpr int64_t kInputs = 256, kOutputs = 70, kWidth = 64;
constexpr int kExperts = 6, kUsed = 3;
constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

struct Release {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Bytes = std::unique_ptr<uint8_t, Release>;
Bytes aligned_bytes(int64_t n) {
  const auto bytes = static_cast<size_t>((n + 63) / 64 * 64 + 64);
  Bytes out(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
  std::memset(out.get(), 0xA5, bytes);
  return out;
}

std::vector<float> normals(int64_t n, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random_normal(seed, i));
  return x;
}

// Every row to kUsed different experts; the first expert gets nothing.
struct Routed {
  explicit Routed(int64_t rows)
      : size{kExperts, rows * kUsed},
        chosen(static_cast<size_t>(size.slots)),
        memory(static_cast<size_t>(ExpertLists::words(size))),
        lists(memory.data(), size) {
    for (size_t s = 0; s < chosen.size(); ++s) {
      const uint64_t start = random_below(8, s / kUsed, kExperts - 1);
      chosen[s] = 1 + static_cast<int32_t>((start + s % kUsed) % (kExperts - 1));
    }
    lists.make(chosen.data());
  }
  ExpertLists::Size size;
  std::vector<int32_t> chosen, memory;
  ExpertLists lists;
};

struct Kind {
  const char* name;
  WeightType type;
  Precision precision;
};
constexpr Kind kKinds[] = {{"q4_0", WeightType::kQ4_0, Precision::kUsual},
                           {"q4_k", WeightType::kQ4K, Precision::kUsual},
                           {"q6_k", WeightType::kQ6K, Precision::kUsual},
                           {"mxfp4", WeightType::kMxfp4, Precision::kUsual},
                           {"q8_0_accurate", WeightType::kQ8_0, Precision::kAccurate},
                           {"f16", WeightType::kF16, Precision::kUsual},
                           {"bf16", WeightType::kBf16, Precision::kUsual}};

class Experts : public ::testing::TestWithParam<std::tuple<int, Isa>> {
 protected:
  const Kind& kind() const { return kKinds[std::get<0>(GetParam())]; }
  Isa isa() const { return std::get<1>(GetParam()); }

  std::vector<PackedWeight> weights(int64_t outputs, uint64_t seed) const {
    std::vector<PackedWeight> all;
    for (uint64_t e = 0; e < kExperts; ++e) {
      all.push_back(
          test::random_weight(kind().type, kind().precision, outputs, kInputs, seed + 3 * e));
    }
    return all;
  }

  // fn(member, worker) by all members.
  template <class Fn>
  void by_all(int members, const Fn& fn) const {
    const int64_t each = (product_scratch_bytes(kInputs) + 63) / 64 * 64;
    const Bytes scratch = aligned_bytes(each * members);
    ProductCounter counter;
    cpu::Team team(members);
    team.run([&](int member, int n) {
      fn(member, Worker{scratch.get() + each * member, &counter, n});
    });
    EXPECT_EQ(counter.next.load(), 0);
  }

  Bytes packed(InputForm form, const float* x, int64_t rows, int64_t inputs) const {
    Bytes out = aligned_bytes(packed_input_bytes(form, rows, inputs));
    const Bytes scratch = aligned_bytes(product_scratch_bytes(inputs));
    pack_inputs(isa(), form, out.get(), {x, inputs, rows, inputs}, scratch.get(), 0, 1);
    return out;
  }

  Bytes gathered(const Routed& routed, InputForm form, const float* x, int64_t rows,
                 int64_t slots_per_row, int members) const {
    const Bytes all = packed(form, x, rows, kInputs);
    Bytes out = aligned_bytes(gathered_input_bytes(form, routed.size, kInputs));
    by_all(members, [&](int member, const Worker& worker) {
      gather_inputs(isa(), routed.lists, {form, all.get(), slots_per_row, kInputs}, out.get(),
                    member, worker.members);
    });
    return out;
  }

  // One row by one weight.
  std::vector<float> alone(const PackedWeight& weight, const float* row, const float* bias) const {
    const Bytes x = packed(weight.input_form(), row, 1, kInputs);
    std::vector<float> y(static_cast<size_t>(weight.outputs()));
    const Product product{&weight, x.get(), y.data(), weight.outputs(), bias};
    by_all(1, [&](int, const Worker& worker) { multiply(isa(), {&product, 1}, 1, worker); });
    return y;
  }
};

// Many rows of each expert, and so few that each list fills no tile. The rows of x are the step's,
// or, as of a product behind another, the slots'.
TEST_P(Experts, every_slot_has_the_bits_of_its_row_alone) {
  constexpr int64_t kStride = kOutputs + 3;
  const std::vector<PackedWeight> all = weights(kOutputs, 20);
  const std::vector<float> biases = normals(kExperts * kOutputs, 4);
  for (const auto& [rows, slots_per_row, members] : std::vector<std::tuple<int64_t, int64_t, int>>{
           {41, kUsed, 1}, {41, kUsed, 3}, {41, 1, 2}, {2, kUsed, 2}, {1, kUsed, 1}, {1, 1, 3}}) {
    const Routed routed(rows);
    const int64_t x_rows = routed.size.slots / slots_per_row;
    const std::vector<float> x = normals(x_rows * kInputs, 3);
    const InputForm form = all[0].input_form();
    const Bytes gather = gathered(routed, form, x.data(), x_rows, slots_per_row, members);
    for (const float* bias : {biases.data(), static_cast<const float*>(nullptr)}) {
      std::vector<float> y(static_cast<size_t>(routed.size.slots * kStride), kPoison);
      const ExpertProduct product{{all, bias, gather.get()}, y.data(), kStride};
      by_all(members, [&](int, const Worker& worker) {
        multiply_experts(isa(), routed.lists, product, worker);
      });
      for (int64_t s = 0; s < routed.size.slots; ++s) {
        const int32_t e = routed.chosen[static_cast<size_t>(s)];
        const std::vector<float> one =
            alone(all[static_cast<size_t>(e)], &x[static_cast<size_t>(s / slots_per_row * kInputs)],
                  bias == nullptr ? nullptr : bias + e * kOutputs);
        const float* const row = &y[static_cast<size_t>(s * kStride)];
        ASSERT_EQ(std::memcmp(row, one.data(), kOutputs * sizeof(float)), 0)
            << "slot " << s << " of " << rows << " rows, " << members << " members";
        for (int64_t o = kOutputs; o < kStride; ++o) EXPECT_TRUE(std::isnan(row[o]));
      }
    }
  }
}

// The gated pair of each slot is products, activation and packing of its row alone.
TEST_P(Experts, a_gated_pair_is_its_steps) {
  const std::vector<PackedWeight> gate = weights(kWidth, 20), up = weights(kWidth, 50);
  const std::vector<float> gate_bias = normals(kExperts * kWidth, 4);
  const std::vector<float> up_bias = normals(kExperts * kWidth, 5);
  const kernels::LinearTable& table = kernels::linear_table(isa());
  for (const auto& [rows, members] : {std::pair<int64_t, int>{41, 3}, {1, 2}}) {
    const Routed routed(rows);
    const std::vector<float> x = normals(rows * kInputs, 3);
    const Bytes gather = gathered(routed, gate[0].input_form(), x.data(), rows, kUsed, members);
    for (const InputForm form : {InputForm::kBytes, InputForm::kFloats, InputForm::kPairs}) {
      const Bytes out = aligned_bytes(gathered_input_bytes(form, routed.size, kWidth));
      const ExpertGatedProduct pair{{gate, gate_bias.data(), gather.get()},
                                    {up, up_bias.data(), gather.get()},
                                    Activation::kClampedSilu,
                                    form,
                                    out.get()};
      by_all(members, [&](int, const Worker& worker) {
        multiply_experts_gated(isa(), routed.lists, pair, worker);
      });
      const int64_t tile =
          kWidth / 32 * static_cast<int64_t>(table.block_bytes[static_cast<int>(form)]);
      for (int i = 0; i < routed.lists.count(); ++i) {
        const auto e = static_cast<size_t>(routed.lists.expert(i));
        const auto slots = routed.lists.slots(i);
        std::vector<float> hidden;
        for (const int32_t s : slots) {
          const float* const row = &x[static_cast<size_t>(s / kUsed * kInputs)];
          std::vector<float> g = alone(gate[e], row, &gate_bias[e * kWidth]);
          const std::vector<float> u = alone(up[e], row, &up_bias[e * kWidth]);
          table.gate[static_cast<int>(Activation::kClampedSilu)](g.data(), u.data(), kWidth);
          hidden.insert(hidden.end(), g.begin(), g.end());
        }
        const auto n = static_cast<int64_t>(slots.size());
        const Bytes steps = packed(form, hidden.data(), n, kWidth);
        ASSERT_EQ(std::memcmp(out.get() + routed.lists.tile(i) * tile, steps.get(),
                              static_cast<size_t>((n + kTileRows - 1) / kTileRows * tile)),
                  0)
            << "expert " << e << ", form " << static_cast<int>(form);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Experts,
                         ::testing::Combine(::testing::Range(0, 7),
                                            ::testing::ValuesIn(test::tested_product_isas())),
                         [](const auto& info) {
                           return std::string(kKinds[std::get<0>(info.param)].name) + "_" +
                                  isa_name(std::get<1>(info.param));
                         });

// More rows of one expert than stand in the scratch at a time.
TEST(ExpertRows, a_list_may_be_longer_than_the_scratch) {
  constexpr int64_t kMany = 1100, kSmall = 64;
  const Isa isa = test::tested_product_isas().back();
  std::vector<PackedWeight> weight;
  weight.push_back(test::random_weight(WeightType::kQ4_0, Precision::kUsual, 33, kSmall, 5));
  const std::vector<float> x = normals(kMany * kSmall, 6);
  const ExpertLists::Size size{1, kMany};
  const std::vector<int32_t> chosen(kMany, 0);
  std::vector<int32_t> memory(static_cast<size_t>(ExpertLists::words(size)));
  ExpertLists lists(memory.data(), size);
  lists.make(chosen.data());
  const Bytes packed = aligned_bytes(packed_input_bytes(InputForm::kBytes, kMany, kSmall));
  const Bytes gathered = aligned_bytes(gathered_input_bytes(InputForm::kBytes, size, kSmall));
  const Bytes scratch = aligned_bytes(product_scratch_bytes(kSmall));
  pack_inputs(isa, InputForm::kBytes, packed.get(), {x.data(), kSmall, kMany, kSmall},
              scratch.get(), 0, 1);
  gather_inputs(isa, lists, {InputForm::kBytes, packed.get(), 1, kSmall}, gathered.get(), 0, 1);
  std::vector<float> expected(kMany * 33), y(kMany * 33, kPoison);
  ProductCounter counter;
  const Worker worker{scratch.get(), &counter, 1};
  const Product plain{&weight[0], packed.get(), expected.data(), 33};
  multiply(isa, {&plain, 1}, kMany, worker);
  multiply_experts(isa, lists, {{weight, nullptr, gathered.get()}, y.data(), 33}, worker);
  EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
}

TEST(ExpertRows, are_added_with_their_shares_and_the_residual) {
  constexpr int64_t kRows = 5, kColumns = 37, kResidualStride = 40;
  const std::vector<float> y = normals(kRows * kUsed * kColumns, 1);
  const std::vector<float> shares = normals(kRows * kUsed, 2);
  const std::vector<float> residual = normals(kRows * kResidualStride, 3);
  for (const int members : {1, 3, 50}) {
    std::vector<float> out(kRows * kColumns, kPoison);
    const ExpertSum sum{.y = y.data(),
                        .shares = shares.data(),
                        .residual = residual.data(),
                        .residual_stride = kResidualStride,
                        .rows = kRows,
                        .width = kColumns,
                        .used = kUsed,
                        .out = out.data()};
    for (int m = 0; m < members; ++m) sum_experts(sum, m, members);
    for (int64_t t = 0; t < kRows; ++t) {
      for (int64_t c = 0; c < kColumns; ++c) {
        double exact = static_cast<double>(residual[static_cast<size_t>(t * kResidualStride + c)]);
        for (int64_t s = t * kUsed; s < (t + 1) * kUsed; ++s) {
          exact += static_cast<double>(shares[static_cast<size_t>(s)]) *
                   static_cast<double>(y[static_cast<size_t>(s * kColumns + c)]);
        }
        ASSERT_NEAR(out[static_cast<size_t>(t * kColumns + c)], exact, 2e-6) << t << " " << c;
      }
    }
  }
}

}  // namespace
}  // namespace heed
