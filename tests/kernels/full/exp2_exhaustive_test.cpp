// Every float in [-127, -0]: the stated error of exp2 for normal results, and 0 <= y <= 1 always.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <thread>
#include <vector>

#include "isa_list.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

struct Worst {
  double fast = 0, precise = 0;
  bool in_range = true;

  void add(const std::vector<float>& y, const std::vector<double>& want, int n, double& error) {
    for (int i = 0; i < n; ++i) {
      in_range &= y[i] >= 0 && y[i] <= 1.000004f;
      if (want[i] >= 0x1.1p-126) error = std::fmax(error, std::fabs(y[i] / want[i] - 1));
    }
  }
};

// Bit patterns [first, last] of negative floats, every ISA on the same block: one result each.
std::vector<Worst> scan(const std::vector<Isa>& isas, uint32_t first, uint32_t last) {
  constexpr uint32_t kBlock = 4096;
  std::vector<float> x(kBlock), y(kBlock);
  std::vector<double> want(kBlock);
  std::vector<Worst> worst(isas.size());
  for (uint64_t from = first; from <= last; from += kBlock) {
    const int n = static_cast<int>(std::min<uint64_t>(kBlock, last - from + 1));
    for (int i = 0; i < n; ++i) {
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(from + i));
      want[i] = std::exp2(static_cast<double>(x[i]));
    }
    for (size_t k = 0; k < isas.size(); ++k) {
      const kernels::Table& table = kernels::table(isas[k]);
      table.exp2_fast(y.data(), x.data(), n);
      worst[k].add(y, want, n, worst[k].fast);
      table.exp2_precise(y.data(), x.data(), n);
      worst[k].add(y, want, n, worst[k].precise);
    }
  }
  return worst;
}

TEST(ApproxExhaustive, exp2_of_every_float_that_can_reach_it) {
  const uint32_t zero = std::bit_cast<uint32_t>(-0.0f), end = std::bit_cast<uint32_t>(-127.0f);
  const std::vector<Isa> isas = test::tested_isas();
  const uint64_t parts = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::vector<Worst>> found(parts);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < parts; ++i) {
    const uint64_t span = uint64_t{end} - zero + 1;
    const uint32_t first = static_cast<uint32_t>(zero + span * i / parts);
    const uint32_t last = static_cast<uint32_t>(zero + span * (i + 1) / parts - 1);
    threads.emplace_back([&, i, first, last] { found[i] = scan(isas, first, last); });
  }
  for (std::thread& t : threads) t.join();
  for (const std::vector<Worst>& part : found) {
    for (size_t k = 0; k < isas.size(); ++k) {
      EXPECT_LE(part[k].fast, 3.0e-6) << isa_name(isas[k]);
      EXPECT_LE(part[k].precise, 1.6e-7) << isa_name(isas[k]);
      EXPECT_TRUE(part[k].in_range) << isa_name(isas[k]);
    }
  }
}

}  // namespace
}  // namespace heed
