// Products of experts: the rows of a list give the bits of the same rows multiplied alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "isa_list.h"
#include "linear/listed_product.h"
#include "random_weight.h"

namespace heed {
namespace {

constexpr int64_t kInputs = 256, kOutputs = 70, kRows = 41;
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

// Which rows an expert multiplies and where the results go.
struct Expert {
  std::vector<int32_t> from, to;
};

// Every (row, slot) goes to one of `experts`, as a router would send them; `to` is row * slots +
// slot. The first expert gets nothing.
std::vector<Expert> routed(int experts, int slots, uint64_t seed) {
  std::vector<Expert> all(static_cast<size_t>(experts));
  for (int32_t row = 0; row < kRows; ++row) {
    for (int32_t slot = 0; slot < slots; ++slot) {
      const auto at = static_cast<uint64_t>(row * slots + slot);
      Expert& e = all[1 + random_below(seed, at, static_cast<uint64_t>(experts - 1))];
      e.from.push_back(row);
      e.to.push_back(row * slots + slot);
    }
  }
  return all;
}

struct Kind {
  const char* name;
  WeightType type;
  Precision precision;
};
constexpr Kind kKinds[] = {{"q4_0", WeightType::kQ4_0, Precision::kUsual},
                           {"q4_k", WeightType::kQ4K, Precision::kUsual},
                           {"q6_k", WeightType::kQ6K, Precision::kUsual},
                           {"q8_0_accurate", WeightType::kQ8_0, Precision::kAccurate},
                           {"f16", WeightType::kF16, Precision::kUsual},
                           {"bf16", WeightType::kBf16, Precision::kUsual}};

class Listed : public ::testing::TestWithParam<std::tuple<int, Isa>> {
 protected:
  static constexpr int kExperts = 6, kSlots = 3;

  const Kind& kind() const { return kKinds[std::get<0>(GetParam())]; }
  Isa isa() const { return std::get<1>(GetParam()); }

  void SetUp() override {
    for (int64_t i = 0; i < kRows * kInputs; ++i) {
      x_.push_back(static_cast<float>(random_normal(3, static_cast<uint64_t>(i))));
    }
    for (int e = 0; e < kExperts; ++e) {
      weights_.push_back(test::random_weight(kind().type, kind().precision, kOutputs, kInputs,
                                             static_cast<uint64_t>(20 + e)));
      for (int64_t o = 0; o < kOutputs; ++o) {
        biases_.push_back(static_cast<float>(random_normal(4, static_cast<uint64_t>(o + 100 * e))));
      }
    }
  }

  InputForm form() const { return weights_[0].input_form(); }
  const float* bias(int e) const { return &biases_[static_cast<size_t>(e * kOutputs)]; }

  // fn(member, worker) by all members.
  template <class Fn>
  void by_all(int members, const Fn& fn) {
    const int64_t each = (product_scratch_bytes(kInputs) + 63) / 64 * 64;
    const Bytes scratch = aligned_bytes(each * members);
    ProductCounter counter;
    cpu::Team team(members);
    team.run([&](int member, int n) {
      fn(member, Worker{scratch.get() + each * member, &counter, n});
    });
    EXPECT_EQ(counter.next.load(), 0);
  }

  Bytes packed(const float* x, int64_t rows) {
    Bytes out = aligned_bytes(packed_input_bytes(form(), rows, kInputs));
    Input input;
    input.x = x;
    input.stride = input.inputs = kInputs;
    input.rows = rows;
    by_all(1, [&](int, const Worker& worker) {
      pack_inputs(isa(), form(), out.get(), input, worker.scratch, 0, 1);
    });
    return out;
  }

  // y [rows * slots, outputs] of all experts at once.
  std::vector<float> listed(const std::vector<Expert>& experts, int members) {
    const Bytes all = packed(x_.data(), kRows);
    std::vector<Bytes> gathered;
    for (const Expert& e : experts) {
      gathered.push_back(
          aligned_bytes(packed_input_bytes(form(), static_cast<int64_t>(e.from.size()), kInputs)));
    }
    std::vector<float> y(static_cast<size_t>(kRows * kSlots * kStride), kPoison);
    by_all(members, [&](int member, const Worker& worker) {
      for (size_t e = 0; e < experts.size(); ++e) {
        gather_inputs(isa(), form(), gathered[e].get(), all.get(), experts[e].from, kInputs, member,
                      worker.members);
      }
    });
    std::vector<ListedProduct> products;
    for (size_t e = 0; e < experts.size(); ++e) {
      products.push_back({&weights_[e], gathered[e].get(), experts[e].to, y.data(), kStride,
                          e % 2 == 0 ? bias(static_cast<int>(e)) : nullptr});
    }
    by_all(members, [&](int, const Worker& worker) { multiply_listed(isa(), products, worker); });
    return y;
  }

  // One row by one expert.
  std::vector<float> alone(size_t e, int32_t row) {
    const Bytes x = packed(x_.data() + row * kInputs, 1);
    std::vector<float> y(kOutputs);
    const Product product{&weights_[e], x.get(), y.data(), kOutputs,
                          e % 2 == 0 ? bias(static_cast<int>(e)) : nullptr};
    by_all(1, [&](int, const Worker& worker) { multiply(isa(), {&product, 1}, 1, worker); });
    return y;
  }

  static constexpr int64_t kStride = kOutputs + 3;
  std::vector<PackedWeight> weights_;
  std::vector<float> x_, biases_;
};

TEST_P(Listed, every_row_has_the_bits_of_the_row_alone) {
  const std::vector<Expert> experts = routed(kExperts, kSlots, 8);
  for (const int members : {1, 3}) {
    const std::vector<float> y = listed(experts, members);
    for (size_t e = 0; e < experts.size(); ++e) {
      for (size_t i = 0; i < experts[e].from.size(); ++i) {
        const float* const row = &y[static_cast<size_t>(experts[e].to[i] * kStride)];
        ASSERT_EQ(std::memcmp(row, alone(e, experts[e].from[i]).data(), kOutputs * sizeof(float)),
                  0)
            << "expert " << e << " row " << experts[e].from[i] << ", " << members << " members";
        for (int64_t o = kOutputs; o < kStride; ++o) EXPECT_TRUE(std::isnan(row[o]));
      }
    }
  }
}

TEST_P(Listed, rows_that_no_list_names_are_not_written) {
  std::vector<Expert> experts(kExperts);
  experts[2] = {{40, 0, 0, 7, 7}, {0, 1, 2, 3, 9}};
  const std::vector<float> y = listed(experts, 2);
  for (int32_t row = 0; row < kRows * kSlots; ++row) {
    const bool named = std::ranges::count(experts[2].to, row) > 0;
    EXPECT_EQ(std::isnan(y[static_cast<size_t>(row * kStride)]), !named) << row;
  }
  for (const float v : listed(std::vector<Expert>(kExperts), 2)) ASSERT_TRUE(std::isnan(v));
}

INSTANTIATE_TEST_SUITE_P(Types, Listed,
                         ::testing::Combine(::testing::Range(0, 6),
                                            ::testing::ValuesIn(test::tested_product_isas())),
                         [](const auto& info) {
                           return std::string(kKinds[std::get<0>(info.param)].name) + "_" +
                                  isa_name(std::get<1>(info.param));
                         });

// More rows than stand in the scratch at a time.
TEST(ListedRows, a_list_may_be_longer_than_the_scratch) {
  constexpr int64_t kMany = 1100;
  const Isa isa = test::tested_product_isas().back();
  const PackedWeight weight = test::random_weight(WeightType::kQ4_0, Precision::kUsual, 33, 64, 5);
  std::vector<float> x(kMany * 64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random_normal(6, i));
  const Bytes packed = aligned_bytes(packed_input_bytes(InputForm::kBytes, kMany, 64));
  const Bytes backwards = aligned_bytes(packed_input_bytes(InputForm::kBytes, kMany, 64));
  const Bytes scratch = aligned_bytes(product_scratch_bytes(64));
  Input input;
  input.x = x.data();
  input.stride = input.inputs = 64;
  input.rows = kMany;
  pack_inputs(isa, InputForm::kBytes, packed.get(), input, scratch.get(), 0, 1);
  std::vector<int32_t> rows;
  for (int32_t r = kMany - 1; r >= 0; --r) rows.push_back(r);
  gather_inputs(isa, InputForm::kBytes, backwards.get(), packed.get(), rows, 64, 0, 1);
  std::vector<float> expected(kMany * 33), y(kMany * 33, kPoison);
  ProductCounter counter;
  const Worker worker{scratch.get(), &counter, 1};
  const Product plain{&weight, packed.get(), expected.data(), 33};
  multiply(isa, {&plain, 1}, kMany, worker);
  const ListedProduct listed{&weight, backwards.get(), rows, y.data(), 33};
  multiply_listed(isa, {&listed, 1}, worker);
  EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace heed
