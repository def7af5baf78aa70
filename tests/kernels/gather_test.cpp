// A gathered page holds the asked slots and zeros behind them, whatever the scratch held before:
// masked slots meet weight 0, and 0 x NaN is NaN.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "isa_list.h"
#include "kernels/format_ops.h"

namespace heed::test {
namespace {

struct Free {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Page = std::unique_ptr<uint8_t[], Free>;

// Every byte 0xff: a NaN in every format.
Page poisoned(size_t bytes) {
  Page page(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
  std::memset(page.get(), 0xff, bytes);
  return page;
}

TEST(Gather, slots_behind_the_gathered_ones_are_zero_over_poisoned_scratch) {
  constexpr int d = 34, kCount = 5;
  std::vector<float> rows(64 * d);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 97) - 48.0f;
  for (Isa isa : tested_isas()) {
    for (Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
      const kernels::FormatOps& ops = kernels::format_ops(isa, format);
      const Page k = poisoned(ops.k_bytes(d)), v = poisoned(ops.v_bytes(d));
      ops.pack_k(k.get(), 0, 64, rows.data(), d, d);
      ops.pack_v(v.get(), 0, 64, rows.data(), d, d);
      const int32_t slots[kCount] = {3, 8, 9, 40, 63};
      const void* k_from[kCount];
      const void* v_from[kCount];
      for (int i = 0; i < kCount; ++i) k_from[i] = k.get(), v_from[i] = v.get();
      const Page to_k = poisoned(ops.k_bytes(d)), to_v = poisoned(ops.v_bytes(d));
      ops.gather_k(to_k.get(), kCount, k_from, slots, d);
      ops.gather_v(to_v.get(), kCount, v_from, slots, d);
      std::vector<float> got_k(64 * d), got_v(64 * d);
      ops.unpack_k(to_k.get(), 0, 64, got_k.data(), d, d);
      ops.unpack_v(to_v.get(), 0, 64, got_v.data(), d, d);
      for (int i = 0; i < 64 * d; ++i) {
        const float want = i < kCount * d ? rows[slots[i / d] * d + i % d] : 0.0f;
        ASSERT_EQ(got_k[i], want) << isa_name(isa) << " " << format_name(format) << " K " << i;
        ASSERT_EQ(got_v[i], want) << isa_name(isa) << " " << format_name(format) << " V " << i;
      }
    }
  }
}

}  // namespace
}  // namespace heed::test
