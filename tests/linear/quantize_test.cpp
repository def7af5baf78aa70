// Rows as bytes: a block holds what its definition says, bit for bit on every ISA, and a row's part
// of it depends on no other row.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "isa_list.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

using kernels::InputBlock;
using kernels::kBlockInputs;
using kernels::kInputRows;

constexpr int kBlocks = 5;
constexpr int kStride = kBlocks * kBlockInputs + 3;  // rows do not touch

// Every field of a block has one word of each row.
using Words = std::vector<uint32_t>;

Words words_of(const InputBlock& block, int row) {
  Words all(sizeof(block) / 4), own;
  std::memcpy(all.data(), &block, sizeof(block));
  for (auto i = static_cast<size_t>(row); i < all.size(); i += kInputRows) own.push_back(all[i]);
  return own;
}

class Quantized : public ::testing::TestWithParam<Isa> {
 protected:
  Quantized() : x_(kInputRows * kStride) {
    for (int row = 0; row < kInputRows; ++row) {
      for (int i = 0; i < kBlockInputs; ++i) {
        const auto normal = static_cast<float>(random_normal(1, at(row, 0, i)));
        x_[at(row, 0, i)] = normal;
        x_[at(row, 1, i)] = std::ldexp(normal, 40 * row - 60);
        x_[at(row, 2, i)] = 0;
        x_[at(row, 3, i)] = 1e-38f * normal;  // 127 / max |x| would overflow
        // Halves between codes, under a scale of 1: to even.
        x_[at(row, 4, i)] = (i % 2 == 0 ? 0.5f : -0.5f) + static_cast<float>(i - 7 * row);
      }
      x_[at(row, 4, 5 * row)] = row % 2 == 0 ? 127.0f : -127.0f;
    }
  }

  static size_t at(int row, int block, int i) {
    return static_cast<size_t>(row * kStride + block * kBlockInputs + i);
  }

  // Over memory that holds no zeros.
  static std::vector<InputBlock> packed(const float* x, int rows) {
    std::vector<InputBlock> out(kBlocks);
    std::memset(out.data(), 0xA5, out.size() * sizeof(InputBlock));
    const kernels::LinearTable& table = kernels::linear_table(GetParam());
    table.pack[static_cast<int>(kernels::InputForm::kBytes)](out.data(), x, kStride, rows, kBlocks);
    return out;
  }

  std::vector<float> x_;  // [kInputRows], kStride apart
};

TEST_P(Quantized, codes_sums_and_scales_are_those_of_the_definition) {
  const std::vector<InputBlock> blocks = packed(x_.data(), kInputRows);
  for (int b = 0; b < kBlocks; ++b) {
    const InputBlock& block = blocks[static_cast<size_t>(b)];
    for (int row = 0; row < kInputRows; ++row) {
      const float* const x = &x_[at(row, b, 0)];
      float most = 0;
      for (int i = 0; i < kBlockInputs; ++i) most = std::max(most, std::fabs(x[i]));
      const float inverse = most > 1e-36f ? 127.0f / most : 0.0f;
      int sum = 0, high = 0;
      for (int i = 0; i < kBlockInputs; ++i) {
        const int code = static_cast<int>(std::nearbyint(x[i] * inverse));
        const auto byte = static_cast<int8_t>(block.q[i / 4][row] >> (8 * (i % 4)) & 255);
        ASSERT_EQ(byte, code) << "block " << b << " row " << row << " input " << i;
        sum += code;
        if (i >= kBlockInputs / 2) high += code;
      }
      EXPECT_EQ(block.minus_sum[row], -sum) << b << " " << row;
      EXPECT_EQ(block.minus_high[row], -high) << b << " " << row;
      EXPECT_EQ(block.scale[row], most / 127.0f) << b << " " << row;
      EXPECT_EQ(block.sum[row], most / 127.0f * static_cast<float>(sum)) << b << " " << row;
    }
  }
}

TEST_P(Quantized, fewer_rows_are_the_same_and_missing_ones_are_zeros) {
  const std::vector<InputBlock> all = packed(x_.data(), kInputRows);
  for (int rows = 1; rows < kInputRows; ++rows) {
    for (int first = 0; first + rows <= kInputRows; ++first) {
      const std::vector<InputBlock> some = packed(&x_[at(first, 0, 0)], rows);
      for (size_t b = 0; b < kBlocks; ++b) {
        for (int row = 0; row < kInputRows; ++row) {
          const Words expected =
              row < rows ? words_of(all[b], first + row) : Words(sizeof(InputBlock) / 16, 0);
          EXPECT_EQ(words_of(some[b], row), expected)
              << rows << " rows from " << first << ", row " << row << " block " << b;
        }
      }
    }
  }
}

TEST_P(Quantized, what_is_not_finite_shows_in_the_scale_of_its_row_and_block_only) {
  const std::vector<InputBlock> clean = packed(x_.data(), kInputRows);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float wrong : {nan, -nan, infinity, -infinity}) {
    for (int row = 0; row < kInputRows; ++row) {
      std::vector<float> x = x_;
      x[at(row, 1, 7 + 5 * row)] = wrong;
      const std::vector<InputBlock> blocks = packed(x.data(), kInputRows);
      for (size_t b = 0; b < kBlocks; ++b) {
        for (int r = 0; r < kInputRows; ++r) {
          if (b == 1 && r == row) continue;
          EXPECT_EQ(words_of(blocks[b], r), words_of(clean[b], r)) << wrong << " " << row;
        }
      }
      EXPECT_EQ(std::isnan(blocks[1].scale[row]), std::isnan(wrong)) << row;
      EXPECT_FALSE(std::isfinite(blocks[1].scale[row])) << wrong << " " << row;
      EXPECT_FALSE(std::isfinite(blocks[1].sum[row])) << wrong << " " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Quantized, ::testing::ValuesIn(test::tested_product_isas()),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace heed
