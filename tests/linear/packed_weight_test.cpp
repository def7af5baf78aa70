// Packed weights: nothing of the file is lost, nothing else is read.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/random.h"
#include "linear/weight.h"
#include "unpacked_weight.h"

namespace heed {
namespace {

class PackedTypes : public ::testing::TestWithParam<int> {
 protected:
  WeightType type() const { return static_cast<WeightType>(GetParam()); }
};

// Any bytes: scales, codes and minima of every value.
std::vector<uint8_t> random_bytes(size_t n, uint64_t seed) {
  std::vector<uint8_t> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(random_bits(seed, i));
  return out;
}

TEST_P(PackedTypes, every_bit_of_the_file_comes_back) {
  for (const int64_t outputs : {1, 31, 32, 33, 70}) {
    for (const int64_t inputs : {256, 768}) {
      const auto row = static_cast<size_t>(file_row_bytes(type(), inputs));
      const std::vector<uint8_t> file =
          random_bytes(row * static_cast<size_t>(outputs), static_cast<uint64_t>(outputs * inputs));
      auto weight = PackedWeight::create(type(), outputs, inputs);
      ASSERT_TRUE(weight.is_ok()) << weight.message();
      weight->fill(file.data(), 0, weight->groups());
      std::vector<uint8_t> back(row);
      for (int64_t o = 0; o < outputs; ++o) {
        test::unpack_row(*weight, o, back.data());
        ASSERT_EQ(std::memcmp(back.data(), file.data() + row * static_cast<size_t>(o), row), 0)
            << weight_type_name(type()) << " output " << o << " of " << outputs << " x " << inputs;
      }
    }
  }
}

TEST_P(PackedTypes, groups_filled_in_any_order_are_the_same) {
  const int64_t outputs = 100, inputs = 512;
  const auto file = random_bytes(static_cast<size_t>(file_row_bytes(type(), inputs) * outputs), 7);
  auto a = PackedWeight::create(type(), outputs, inputs);
  auto b = PackedWeight::create(type(), outputs, inputs);
  ASSERT_TRUE(a.is_ok() && b.is_ok());
  a->fill(file.data(), 0, a->groups());
  for (int64_t g = b->groups() - 1; g >= 0; --g) b->fill(file.data(), g, g + 1);
  EXPECT_EQ(std::memcmp(a->group(0), b->group(0), static_cast<size_t>(a->bytes())), 0);
}

TEST_P(PackedTypes, a_packed_weight_is_as_large_as_the_file) {
  auto weight = PackedWeight::shape(type(), 64, 2048);
  ASSERT_TRUE(weight.is_ok());
  const double ratio =
      static_cast<double>(weight->bytes()) / static_cast<double>(64 * file_row_bytes(type(), 2048));
  // Scales of 6 bits take 8 here: 8 x 64 + 128 bytes for 32 x 16 are 4 bytes in 144 or 176.
  // 12 bytes of scales are 16 in Q3_K, 6 are 8 in IQ4_XS.
  // A power of two takes 16 bits instead of 8.
  switch (type()) {
    case WeightType::kQ4K: EXPECT_DOUBLE_EQ(ratio, 148.0 / 144); break;
    case WeightType::kQ5K: EXPECT_DOUBLE_EQ(ratio, 180.0 / 176); break;
    case WeightType::kQ3K: EXPECT_DOUBLE_EQ(ratio, 114.0 / 110); break;
    case WeightType::kIq4Xs: EXPECT_DOUBLE_EQ(ratio, 138.0 / 136); break;
    case WeightType::kMxfp4: EXPECT_DOUBLE_EQ(ratio, 18.0 / 17); break;
    default: EXPECT_DOUBLE_EQ(ratio, 1.0);
  }
}

TEST_P(PackedTypes, inputs_must_come_in_whole_blocks) {
  for (const int64_t inputs : {int64_t{0}, file_block_inputs(type()) + 1, int64_t{-32}}) {
    auto weight = PackedWeight::create(type(), 32, inputs);
    ASSERT_FALSE(weight.is_ok());
    EXPECT_EQ(weight.status().code(), Code::kInvalidArgument);
    EXPECT_NE(weight.message().find(weight_type_name(type())), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, PackedTypes, ::testing::Range(0, kernels::kWeightTypes),
                         [](const auto& info) {
                           return weight_type_name(static_cast<WeightType>(info.param));
                         });

TEST(PlacedTogether, weights_hold_what_they_hold_alone) {
  std::vector<PackedWeight> together, alone;
  std::vector<PackedWeight*> places;
  together.reserve(kernels::kWeightTypes);
  for (int i = 0; i < kernels::kWeightTypes; ++i) {
    const auto type = static_cast<WeightType>(i);
    auto shape = PackedWeight::shape(type, 33 + i, 256);
    auto own = PackedWeight::create(type, 33 + i, 256);
    ASSERT_TRUE(shape.is_ok() && own.is_ok());
    places.push_back(&together.emplace_back(std::move(*shape)));
    alone.push_back(std::move(*own));
  }
  const auto memory = place_together(places);
  ASSERT_TRUE(memory.is_ok()) << memory.message();
  for (size_t i = 0; i < together.size(); ++i) {
    const auto file = random_bytes(
        static_cast<size_t>(file_row_bytes(together[i].type(), 256) * together[i].outputs()), i);
    together[i].fill(file.data(), 0, together[i].groups());
    alone[i].fill(file.data(), 0, alone[i].groups());
  }
  const uint8_t* end = memory->get();
  for (size_t i = 0; i < together.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(together[i].group(0)) % 64, 0u);
    EXPECT_GE(together[i].group(0), end);
    end = together[i].group(0) + together[i].bytes();
    EXPECT_EQ(
        std::memcmp(together[i].group(0), alone[i].group(0), static_cast<size_t>(alone[i].bytes())),
        0)
        << weight_type_name(alone[i].type());
  }
}

}  // namespace
}  // namespace heed
