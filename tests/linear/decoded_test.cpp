// Weights that stay as the file has them and are decoded while they are multiplied.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "guard_memory.h"
#include "isa_list.h"
#include "linear/product.h"

namespace heed {
namespace {

// Blocks of n codes behind an fp32 scale.
template <int64_t n>
void decode(const void* row, float* out, int64_t count) {
  const auto* from = static_cast<const uint8_t*>(row);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* block = from + i / n * (4 + n);
    float scale;
    std::memcpy(&scale, block, 4);
    out[i] = scale * static_cast<float>(block[4 + i % n] - 100);
  }
}

constexpr RowDecoder kDecoders[] = {{"blocks of 8", 8, 12, decode<8>},
                                    {"blocks of 64", 64, 68, decode<64>},
                                    {"blocks of 256", 256, 260, decode<256>}};

struct Release {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Bytes = std::unique_ptr<uint8_t, Release>;
Bytes aligned_bytes(int64_t n) {
  return Bytes(
      static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>((n + 63) / 64 * 64))));
}

class Decoded : public ::testing::TestWithParam<std::tuple<int, Isa>> {
 protected:
  // Inputs are whole blocks of the decoder, but not whole pieces in which it is called.
  const RowDecoder& decoder() const { return kDecoders[std::get<0>(GetParam())]; }
  Isa isa() const { return std::get<1>(GetParam()); }
  int64_t inputs() const { return std::max<int64_t>(decoder().inputs, 32) * 9; }
  static constexpr int64_t kOutputs = 70, kRows = 37;

  void SetUp() override {
    const int64_t row = inputs() / decoder().inputs * decoder().bytes;
    file_.resize(static_cast<size_t>(row * kOutputs));
    for (size_t i = 0; i < file_.size(); ++i) file_[i] = static_cast<uint8_t>(random_bits(1, i));
    for (size_t at = 0; at < file_.size(); at += static_cast<size_t>(decoder().bytes)) {
      const float scale = 0.001f + 1e-5f * static_cast<float>(at % 89);
      std::memcpy(&file_[at], &scale, 4);
    }
    for (int64_t i = 0; i < kRows * inputs(); ++i) {
      x_.push_back(static_cast<float>(random_normal(2, static_cast<uint64_t>(i))));
    }
  }

  PackedWeight weight(const void* rows) const {
    auto made = PackedWeight::decoded(decoder(), rows, kOutputs, inputs());
    EXPECT_TRUE(made.is_ok()) << made.message();
    return std::move(*made);
  }

  std::vector<float> multiplied(const PackedWeight& weight, int64_t first, int64_t rows,
                                int members = 1) const {
    const InputForm form = weight.input_form();
    const Bytes packed = aligned_bytes(packed_input_bytes(form, rows, inputs()));
    const int64_t each = (product_scratch_bytes(inputs()) + 63) / 64 * 64;
    const Bytes scratch = aligned_bytes(each * members);
    std::vector<float> y(static_cast<size_t>(rows * kOutputs));
    Input input;
    input.x = x_.data() + first * inputs();
    input.stride = input.inputs = inputs();
    input.rows = rows;
    pack_inputs(isa(), form, packed.get(), input, scratch.get(), 0, 1);
    ProductCounter counter;
    cpu::Team team(members);
    team.run([&](int member, int n) {
      const Product product{&weight, packed.get(), y.data(), kOutputs};
      multiply(isa(), {&product, 1}, rows, {scratch.get() + each * member, &counter, n});
    });
    return y;
  }

  std::vector<uint8_t> file_;
  std::vector<float> x_;
};

// The same values as F32 weights, where the ISA multiplies fp32, give the same bits; where it
// multiplies bf16, as BF16 weights after both were rounded.
TEST_P(Decoded, gives_the_bits_of_a_packed_weight_of_the_same_values) {
  const PackedWeight own = weight(file_.data());
  const bool bf16 = isa() == Isa::kAvx512Bf16;
  std::vector<float> values(static_cast<size_t>(kOutputs * inputs()));
  decoder().to_floats(file_.data(), values.data(), kOutputs * inputs());
  std::vector<uint16_t> halves;
  for (const float v : values) {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    halves.push_back(static_cast<uint16_t>((u + 0x7FFF + (u >> 16 & 1)) >> 16));
  }
  auto packed =
      PackedWeight::create(bf16 ? WeightType::kBf16 : WeightType::kF32, kOutputs, inputs());
  ASSERT_TRUE(packed.is_ok());
  packed->fill(bf16 ? static_cast<const void*>(halves.data()) : values.data(), 0, packed->groups());
  EXPECT_EQ(multiplied(own, 0, kRows), multiplied(*packed, 0, kRows));
}

TEST_P(Decoded, a_rows_bits_depend_neither_on_the_other_rows_nor_on_the_members) {
  const PackedWeight own = weight(file_.data());
  const std::vector<float> all = multiplied(own, 0, kRows);
  EXPECT_EQ(multiplied(own, 0, kRows, 3), all);
  for (const int64_t rows : {1, 2, 3, 4, 5, 17}) {
    for (const int64_t first : {int64_t{0}, int64_t{6}, kRows - rows}) {
      const std::vector<float> some = multiplied(own, first, rows);
      ASSERT_EQ(
          std::memcmp(some.data(), all.data() + first * kOutputs, some.size() * sizeof(float)), 0)
          << rows << " rows from " << first;
    }
  }
}

TEST_P(Decoded, nothing_behind_the_last_row_of_the_file_is_read) {
  const test::GuardMemory guarded(file_.size(), test::GuardSide::kBehind);
  std::memcpy(guarded.data(), file_.data(), file_.size());
  const PackedWeight own = weight(file_.data()), at_the_end = weight(guarded.data());
  EXPECT_EQ(own.bytes(), static_cast<int64_t>(file_.size()));
  EXPECT_EQ(multiplied(at_the_end, 0, 5), multiplied(own, 0, 5));
}

INSTANTIATE_TEST_SUITE_P(Blocks, Decoded,
                         ::testing::Combine(::testing::Range(0, 3),
                                            ::testing::ValuesIn(test::tested_product_isas())),
                         [](const auto& info) {
                           return std::to_string(kDecoders[std::get<0>(info.param)].inputs) + "_" +
                                  isa_name(std::get<1>(info.param));
                         });

TEST(DecodedShapes, whole_blocks_of_a_known_size_are_needed) {
  for (const int64_t inputs : {int64_t{0}, int64_t{24}, int64_t{-32}}) {
    const auto weight = PackedWeight::decoded(kDecoders[0], nullptr, 4, inputs);
    EXPECT_EQ(weight.code(), Code::kInvalidArgument);
    EXPECT_NE(weight.message().find("blocks of 32"), std::string::npos) << weight.message();
  }
  for (const int64_t block : {int64_t{512}, int64_t{24}, int64_t{0}}) {
    RowDecoder odd = kDecoders[0];
    odd.inputs = block;
    const auto weight = PackedWeight::decoded(odd, nullptr, 4, 1024);
    EXPECT_EQ(weight.code(), Code::kUnsupported);
    EXPECT_NE(weight.message().find(std::to_string(block)), std::string::npos);
  }
}

}  // namespace
}  // namespace heed
