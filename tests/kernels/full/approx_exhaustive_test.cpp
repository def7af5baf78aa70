// exp2 of every float that is not positive and tanh of every float, on every instruction set: the
// errors that src/kernels/approx.h states.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "isa_list.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr float kInf = std::numeric_limits<float>::infinity();

uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }

// What one instruction set did on some of the floats.
struct Findings {
  double error = 0, second_error = 0;  // relative
  int64_t broken = 0;                  // values outside what is promised besides the error
  int64_t floats = 0;

  void add(const Findings& other) {
    error = std::fmax(error, other.error);
    second_error = std::fmax(second_error, other.second_error);
    broken += other.broken;
    floats += other.floats;
  }
};

// A block of neighbouring bit patterns.
struct Block {
  std::vector<float> x = std::vector<float>(kBlock), y = x, negative = x;
  std::vector<double> want = std::vector<double>(kBlock);
  int n = 0;

  void take(uint64_t first, uint64_t last) {
    n = static_cast<int>(std::min<uint64_t>(kBlock, last - first + 1));
    for (int i = 0; i < n; ++i) x[i] = std::bit_cast<float>(static_cast<uint32_t>(first + i));
  }
};

// Calls check(block, table, findings of that ISA) for all patterns first..last, on all cores;
// prepare(block) computes what is exact once for all instruction sets. One result per ISA.
template <class Prepare, class Check>
std::vector<Findings> scan(uint32_t first, uint32_t last, Prepare prepare, Check check) {
  const std::vector<Isa> isas = test::tested_isas();
  const uint64_t parts = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t span = uint64_t{last} - first + 1;
  std::vector<std::vector<Findings>> found(parts, std::vector<Findings>(isas.size()));
  std::vector<std::thread> threads;
  for (uint64_t part = 0; part < parts; ++part) {
    threads.emplace_back([&, part] {
      Block block;
      const uint64_t end = first + span * (part + 1) / parts - 1;
      for (uint64_t at = first + span * part / parts; at <= end; at += kBlock) {
        block.take(at, end);
        prepare(block);
        for (size_t k = 0; k < isas.size(); ++k) {
          found[part][k].floats += block.n;
          check(block, kernels::table(isas[k]), found[part][k]);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (size_t part = 1; part < parts; ++part) {
    for (size_t k = 0; k < isas.size(); ++k) found[0][k].add(found[part][k]);
  }
  for (const Findings& f : found[0]) EXPECT_EQ(f.floats, static_cast<int64_t>(span));
  return found[0];
}

const char* name(size_t k) { return isa_name(test::tested_isas()[k]); }

double exp2_error(const Block& b, int64_t& broken) {
  double error = 0;
  for (int i = 0; i < b.n; ++i) {
    broken += !(b.y[i] >= 0 && b.y[i] <= 1.000004f);
    if (b.want[i] >= 0x1.1p-126) error = std::fmax(error, std::fabs(b.y[i] / b.want[i] - 1));
  }
  return error;
}

TEST(ApproxExhaustive, exp2_where_the_result_is_normal_or_nearly) {
  const auto exact = [](Block& b) {
    for (int i = 0; i < b.n; ++i) b.want[i] = std::exp2(static_cast<double>(b.x[i]));
  };
  const auto check = [](Block& b, const kernels::Table& table, Findings& f) {
    table.exp2_fast(b.y.data(), b.x.data(), b.n);
    f.error = std::fmax(f.error, exp2_error(b, f.broken));
    table.exp2_precise(b.y.data(), b.x.data(), b.n);
    f.second_error = std::fmax(f.second_error, exp2_error(b, f.broken));
  };
  const std::vector<Findings> found = scan(bits(-0.0f), bits(-127.0f), exact, check);
  for (size_t k = 0; k < found.size(); ++k) {
    EXPECT_LE(found[k].error, 3.0e-6) << name(k);
    EXPECT_LE(found[k].second_error, 1.6e-7) << name(k);
    EXPECT_EQ(found[k].broken, 0) << name(k);
  }
}

TEST(ApproxExhaustive, exp2_below_that_is_zero_or_a_denormal) {
  const auto check = [](Block& b, const kernels::Table& table, Findings& f) {
    for (auto function : {table.exp2_fast, table.exp2_precise}) {
      function(b.y.data(), b.x.data(), b.n);
      for (int i = 0; i < b.n; ++i) {
        const bool zero = b.x[i] != -kInf || b.y[i] == 0;
        f.broken += !(b.y[i] >= 0 && b.y[i] <= 0x1p-126f && zero);
      }
    }
  };
  const auto found = scan(
      bits(-127.0f), bits(-kInf), [](Block&) {}, check);
  for (size_t k = 0; k < found.size(); ++k) EXPECT_EQ(found[k].broken, 0) << name(k);
}

// Below 2^-15 two terms of the series are exact to 1e-18.
double tanh_exact(double x) { return x < 0x1p-15 ? x - x * x * x / 3 : std::tanh(x); }

TEST(ApproxExhaustive, tanh_of_every_number_and_infinity) {
  const auto exact = [](Block& b) {
    for (int i = 0; i < b.n; ++i) {
      b.negative[i] = -b.x[i];
      b.want[i] = tanh_exact(b.x[i]);
    }
  };
  const auto check = [](Block& b, const kernels::Table& table, Findings& f) {
    table.tanh(b.y.data(), b.x.data(), b.n);
    for (int i = 0; i < b.n; ++i) {
      // Below the normal numbers tanh(x) rounds to x.
      if (b.x[i] < std::numeric_limits<float>::min()) {
        f.broken += b.y[i] != b.x[i];
      } else {
        f.error = std::fmax(f.error, std::fabs(b.y[i] / b.want[i] - 1));
      }
      f.broken += !(b.y[i] <= 1) || (b.x[i] == kInf && b.y[i] != 1);
      b.y[i] = -b.y[i];
    }
    std::vector<float>& mirrored = b.negative;  // of -x: the same bits, another sign
    static thread_local std::vector<float> out(kBlock);
    table.tanh(out.data(), mirrored.data(), b.n);
    f.broken += std::memcmp(out.data(), b.y.data(), sizeof(float) * b.n) != 0;
  };
  const std::vector<Findings> found = scan(bits(0.0f), bits(kInf), exact, check);
  for (size_t k = 0; k < found.size(); ++k) {
    EXPECT_LE(found[k].error, 4e-7) << name(k);
    EXPECT_GT(found[k].error, 1e-8) << name(k) << ": nothing was compared";
    EXPECT_EQ(found[k].broken, 0) << name(k);
  }
}

TEST(ApproxExhaustive, every_nan_stays_one) {
  for (uint32_t sign : {0u, 0x80000000u}) {
    const auto check = [](Block& b, const kernels::Table& table, Findings& f) {
      for (auto function : {table.exp2_fast, table.exp2_precise, table.tanh}) {
        function(b.y.data(), b.x.data(), b.n);
        for (int i = 0; i < b.n; ++i) f.broken += !std::isnan(b.y[i]);
      }
    };
    const auto found = scan(
        sign + bits(kInf) + 1, sign + 0x7fffffffu, [](Block&) {}, check);
    for (size_t k = 0; k < found.size(); ++k) EXPECT_EQ(found[k].broken, 0) << name(k);
  }
}

}  // namespace
}  // namespace heed
