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
};

// Bit patterns [first, last] of negative floats.
Worst scan(const kernels::Table& table, uint32_t first, uint32_t last) {
  constexpr uint32_t kBlock = 4096;
  std::vector<float> x(kBlock), fast(kBlock), precise(kBlock);
  Worst worst;
  for (uint64_t from = first; from <= last; from += kBlock) {
    const int n = static_cast<int>(std::min<uint64_t>(kBlock, last - from + 1));
    for (int i = 0; i < n; ++i) x[i] = std::bit_cast<float>(static_cast<uint32_t>(from + i));
    table.exp2_fast(fast.data(), x.data(), n);
    table.exp2_precise(precise.data(), x.data(), n);
    for (int i = 0; i < n; ++i) {
      const double want = std::exp2(static_cast<double>(x[i]));
      worst.in_range &= fast[i] >= 0 && fast[i] <= 1.000004f;
      worst.in_range &= precise[i] >= 0 && precise[i] <= 1.0000002f;
      if (x[i] < -125.9f) continue;
      worst.fast = std::fmax(worst.fast, std::fabs(fast[i] / want - 1));
      worst.precise = std::fmax(worst.precise, std::fabs(precise[i] / want - 1));
    }
  }
  return worst;
}

TEST(ApproxExhaustive, exp2_of_every_float_that_can_reach_it) {
  const uint32_t zero = std::bit_cast<uint32_t>(-0.0f), end = std::bit_cast<uint32_t>(-127.0f);
  for (Isa isa : test::tested_isas()) {
    const kernels::Table& table = kernels::table(isa);
    const int parts = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<Worst> found(static_cast<size_t>(parts));
    std::vector<std::thread> threads;
    for (int i = 0; i < parts; ++i) {
      const uint64_t span = uint64_t{end} - zero + 1;
      const uint32_t first = static_cast<uint32_t>(zero + span * i / parts);
      const uint32_t last = static_cast<uint32_t>(zero + span * (i + 1) / parts - 1);
      threads.emplace_back([&, i, first, last] { found[i] = scan(table, first, last); });
    }
    for (std::thread& t : threads) t.join();
    for (const Worst& w : found) {
      EXPECT_LE(w.fast, 3.0e-6) << isa_name(isa);
      EXPECT_LE(w.precise, 1.6e-7) << isa_name(isa);
      EXPECT_TRUE(w.in_range) << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace heed
