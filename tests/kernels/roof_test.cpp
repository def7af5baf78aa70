// The roof loops count what they execute, exist exactly where the ISA has the instruction, and the
// stream reads every byte.
#include <gtest/gtest.h>

#include <vector>

#include "isa_list.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

TEST(Roof, loops_count_operations_in_proportion_to_the_rounds) {
  for (Isa isa : test::tested_isas()) {
    const kernels::Table& t = kernels::table(isa);
    EXPECT_GT(t.fma_loop(10), 0) << isa_name(isa);
    EXPECT_EQ(t.fma_loop(1000), 100 * t.fma_loop(10)) << isa_name(isa);
    EXPECT_EQ(t.bf16_loop(10) > 0, isa == Isa::kAvx512Bf16) << isa_name(isa);
    if (isa == Isa::kAvx512Bf16) {
      EXPECT_EQ(t.bf16_loop(10), 2 * t.fma_loop(10));
    }
    if (kernels::has_int8_dot(isa)) {
      EXPECT_EQ(t.int8_loop(10), 4 * t.fma_loop(10));
    }
  }
}

TEST(Roof, stream_read_depends_on_every_byte) {
  for (Isa isa : test::tested_isas()) {
    const kernels::Table& t = kernels::table(isa);
    std::vector<uint8_t> data(8192, 0);
    EXPECT_EQ(t.stream_read(data.data(), data.size()), 0u);
    for (size_t i = 0; i < data.size(); i += 61) {
      data[i] = 0x10;
      EXPECT_NE(t.stream_read(data.data(), data.size()), 0u) << isa_name(isa) << " byte " << i;
      data[i] = 0;
    }
  }
}

}  // namespace
}  // namespace heed
