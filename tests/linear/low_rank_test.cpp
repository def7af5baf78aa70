// Low-rank factors behind products: the formula in fp64, and bits that belong to the row alone.
#include "linear/low_rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/aligned.h"
#include "base/random.h"
#include "cpu/team.h"
#include "isa_list.h"

namespace heed {
namespace {

std::vector<float> normals(int64_t n, uint64_t seed, double scale) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(scale * random_normal(seed, i));
  return x;
}

int64_t padded(int64_t n) { return (n + 31) / 32 * 32; }

// [outputs, inputs] as a weight whose rows are padded to blocks.
PackedWeight packed(const std::vector<float>& rows, int64_t outputs, int64_t inputs) {
  std::vector<float> wide(static_cast<size_t>(outputs * padded(inputs)));
  for (int64_t o = 0; o < outputs; ++o) {
    std::copy_n(rows.data() + o * inputs, inputs, wide.data() + o * padded(inputs));
  }
  auto weight = PackedWeight::create(WeightType::kF32, outputs, padded(inputs));
  EXPECT_TRUE(weight.is_ok()) << weight.message();
  weight->fill(wide.data(), 0, weight->groups());
  return std::move(*weight);
}

struct Shape {
  int64_t inputs, outputs, rank;
};

struct Pair {
  Pair(const Shape& s, uint64_t seed)
      : shape(s),
        a(normals(s.rank * s.inputs, seed, 1 / std::sqrt(s.inputs))),
        b(normals(s.outputs * s.rank, seed + 1, 1 / std::sqrt(s.rank))),
        packed_a(packed(a, s.rank, s.inputs)),
        packed_b(packed(b, s.outputs, s.rank)) {}
  Shape shape;
  std::vector<float> a, b;
  PackedWeight packed_a, packed_b;
};

class LowRank : public testing::TestWithParam<Isa> {
 protected:
  // y += of all pairs, by `members` threads. x [rows, stride].
  void add(const std::vector<const Pair*>& pairs, const float* x, int64_t rows, float* y,
           int members, const float* norm = nullptr) const {
    const Shape& shape = pairs.front()->shape;
    std::vector<LowRankTerm> terms;
    int64_t rank = 0, floats = 0;
    for (const Pair* pair : pairs) {
      rank = std::max(rank, pair->packed_b.inputs());
      floats += rows * low_rank_sums(shape.inputs, pair->packed_b.inputs());
    }
    std::vector<float> sums(static_cast<size_t>(floats), std::nanf(""));
    float* at = sums.data();
    for (const Pair* pair : pairs) {
      terms.push_back({.a = &pair->packed_a,
                       .b = &pair->packed_b,
                       .rank = pair->shape.rank,
                       .scale = 0.75f,
                       .y = y,
                       .y_stride = shape.outputs,
                       .sums = at});
      at += rows * low_rank_sums(shape.inputs, pair->packed_b.inputs());
    }
    LowRankCall call;
    call.x = x;
    call.x_stride = shape.inputs;
    call.rows = rows;
    call.inputs = shape.inputs;
    call.norm = norm;
    call.eps = 1e-5f;
    call.terms = terms;
    const int64_t each = low_rank_scratch_bytes(shape.inputs, rank);
    const AlignedMemory scratch = allocate_aligned(static_cast<size_t>(each * members));
    cpu::Barrier barrier;
    cpu::Team team(members);
    team.run([&](int member, int all) {
      low_rank_sum(GetParam(), call, scratch.get() + each * member, member, all);
      barrier.wait(all);
      low_rank_add(GetParam(), call, scratch.get() + each * member, member, all);
    });
  }
};

// Inputs that fill no block, a rank of one and one of two groups, slices that are not full.
constexpr Shape kShapes[] = {{64, 80, 4}, {50, 33, 1}, {1056, 96, 40}, {2100, 64, 16}};

TEST_P(LowRank, products_are_the_formula) {
  for (const Shape& shape : kShapes) {
    const Pair first(shape, 10), second(shape, 20);
    const std::vector<float> norm = normals(shape.inputs, 3, 1);
    for (const bool with_norm : {false, true}) {
      constexpr int64_t kRows = 7;
      const std::vector<float> x = normals(kRows * shape.inputs, 1, 2);
      const std::vector<float> before = normals(kRows * shape.outputs, 2, 1);
      std::vector<float> y = before;
      add({&first, &second}, x.data(), kRows, y.data(), 2, with_norm ? norm.data() : nullptr);
      for (int64_t r = 0; r < kRows; ++r) {
        double squares = 0;
        const float* const row = x.data() + r * shape.inputs;
        for (int64_t i = 0; i < shape.inputs; ++i) squares += static_cast<double>(row[i]) * row[i];
        const double scale =
            with_norm ? 1 / std::sqrt(squares / static_cast<double>(shape.inputs) + 1e-5) : 1;
        for (int64_t o = 0; o < shape.outputs; ++o) {
          double sum = before[static_cast<size_t>(r * shape.outputs + o)], size = std::fabs(sum);
          for (const Pair* pair : {&first, &second}) {
            for (int64_t k = 0; k < shape.rank; ++k) {
              double inner = 0, inner_size = 0;
              for (int64_t i = 0; i < shape.inputs; ++i) {
                const double w = with_norm ? static_cast<double>(norm[static_cast<size_t>(i)]) : 1;
                const double term =
                    static_cast<double>(row[i]) * scale * w *
                    static_cast<double>(pair->a[static_cast<size_t>(k * shape.inputs + i)]);
                inner += term;
                inner_size += std::fabs(term);
              }
              const double factor =
                  0.75 * static_cast<double>(pair->b[static_cast<size_t>(o * shape.rank + k)]);
              sum += factor * inner;
              size += std::fabs(factor) * inner_size;
            }
          }
          // Chains of kSliceInputs and of the rank, each rounding at most half a unit of the sum
          // of sizes; far above what they measure to.
          const double limit = size * 0x1p-24 * 200;
          EXPECT_NEAR(y[static_cast<size_t>(r * shape.outputs + o)], sum, limit)
              << shape.inputs << " " << shape.rank << " row " << r << " output " << o;
        }
      }
    }
  }
}

TEST_P(LowRank, a_row_has_its_own_bits_whatever_the_rows_and_members) {
  for (const Shape& shape : kShapes) {
    const Pair pair(shape, 30);
    constexpr int64_t kRows = 135;
    const std::vector<float> x = normals(kRows * shape.inputs, 4, 1);
    const std::vector<float> before = normals(kRows * shape.outputs, 5, 1);
    std::vector<float> all = before;
    add({&pair}, x.data(), kRows, all.data(), 3);
    for (const int64_t row : {0, 1, 63, 64, 130, 134}) {
      std::vector<float> alone(before.begin() + row * shape.outputs,
                               before.begin() + (row + 1) * shape.outputs);
      add({&pair}, x.data() + row * shape.inputs, 1, alone.data(), row % 2 == 0 ? 1 : 4);
      EXPECT_EQ(
          std::memcmp(alone.data(), all.data() + row * shape.outputs, alone.size() * sizeof(float)),
          0)
          << shape.inputs << " row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, LowRank, testing::ValuesIn(test::tested_product_isas()),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace heed
