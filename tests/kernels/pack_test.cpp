// Pages: what is packed comes back, rounded to nearest even; neighbours stay; every ISA stores the
// same bits; nothing behind the page is touched.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "isa_list.h"
#include "kernels/format_ops.h"

namespace heed {
namespace {

using kernels::FormatOps;

constexpr size_t kGuard = 256;
constexpr uint8_t kGuardByte = 0xA5;

// A page with guard bytes behind it.
struct Page {
  explicit Page(size_t bytes) : size(bytes), data(bytes + kGuard, 0) {
    std::memset(data.data() + bytes, kGuardByte, kGuard);
  }
  bool guard_intact() const {
    for (size_t i = size; i < data.size(); ++i) {
      if (data[i] != kGuardByte) return false;
    }
    return true;
  }
  size_t size;
  std::vector<uint8_t> data;
};

// Round to nearest even to `bits` of fraction, exponent not below `min_exponent`; in double, exact.
float round_to(float x, int bits, int min_exponent, double largest) {
  if (!std::isfinite(x) || x == 0) return x;
  const int e = std::max(std::ilogb(x), min_exponent);
  const double unit = std::ldexp(1.0, e - bits);
  const double r = std::nearbyint(static_cast<double>(x) / unit) * unit;
  if (std::fabs(r) > largest) return std::copysign(std::numeric_limits<float>::infinity(), x);
  return static_cast<float>(std::copysign(r, x));
}

float stored(Format format, float x) {
  if (format == Format::kF16) return round_to(x, 10, -14, 65504);
  if (format == Format::kBf16) return round_to(x, 7, -126, 3.3895313892515355e38);
  return x;
}

bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

std::vector<float> values(size_t n, uint64_t seed) {
  std::vector<float> x(n);
  const float special[] = {0.0f,        -0.0f,       INFINITY,       -INFINITY, NAN,
                           1e-40f,      -1e-7f,      65519.9f,       65520.0f,  3.4e38f,
                           1.00390625f, 1.01171875f, 1.00048828125f, 6e-8f,     -2.9e-8f};
  for (size_t i = 0; i < n; ++i) {
    const uint64_t r = random_bits(seed, i);
    x[i] = r % 16 == 0
               ? special[(r >> 8) % std::size(special)]
               : static_cast<float>(random_normal(seed, i) * std::exp2(double(r % 21) - 10));
  }
  return x;
}

constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kBf16};
constexpr int kSizes[] = {2, 6, 16, 18, 30, 34, 64, 80, 576};

// Fills a page in pieces of random length and compares every slot.
void check_round_trip(const FormatOps& ops, Isa isa, int d, uint64_t seed) {
  const int64_t stride = d + 3;
  const std::vector<float> rows = values(static_cast<size_t>(64 * stride), seed);
  Page k(ops.k_bytes(d)), v(ops.v_bytes(d));
  for (int slot = 0; slot < 64;) {
    const int n = std::min(64 - slot, 1 + static_cast<int>(random_below(seed + 1, slot, 40)));
    ops.pack_k(k.data.data(), slot, n, rows.data() + slot * stride, stride, d);
    ops.pack_v(v.data.data(), slot, n, rows.data() + slot * stride, stride, d);
    slot += n;
  }
  ASSERT_TRUE(k.guard_intact());
  ASSERT_TRUE(v.guard_intact());
  std::vector<float> back_k(rows.size(), -7), back_v(rows.size(), -7);
  ops.unpack_k(k.data.data(), 0, 64, back_k.data(), stride, d);
  ops.unpack_v(v.data.data(), 0, 64, back_v.data(), stride, d);
  for (int t = 0; t < 64; ++t) {
    for (int c = 0; c < d; ++c) {
      const size_t i = static_cast<size_t>(t * stride + c);
      const float want = stored(ops.format, rows[i]);
      ASSERT_TRUE(same(back_k[i], want))
          << isa_name(isa) << " " << format_name(ops.format) << " K d=" << d << " " << rows[i]
          << " " << back_k[i] << " " << want;
      ASSERT_TRUE(same(back_v[i], want))
          << isa_name(isa) << " " << format_name(ops.format) << " V d=" << d << " " << rows[i]
          << " " << back_v[i] << " " << want;
    }
  }
}

TEST(Pack, round_trip_rounds_to_nearest_even_for_every_isa_format_and_size) {
  for (Isa isa : test::tested_isas()) {
    for (Format format : kFormats) {
      for (int d : kSizes) {
        check_round_trip(kernels::format_ops(isa, format), isa, d, static_cast<uint64_t>(d));
      }
    }
  }
}

TEST(Pack, writing_a_slot_leaves_the_others_alone) {
  for (Isa isa : test::tested_isas()) {
    for (Format format : kFormats) {
      const FormatOps& ops = kernels::format_ops(isa, format);
      const int d = 34;
      const std::vector<float> rows = values(64 * d, 3), other(64 * d, 1.5f);
      for (int slot = 0; slot < 64; ++slot) {
        Page k(ops.k_bytes(d)), v(ops.v_bytes(d));
        ops.pack_k(k.data.data(), 0, 64, other.data(), d, d);
        ops.pack_v(v.data.data(), 0, 64, other.data(), d, d);
        ops.pack_k(k.data.data(), slot, 1, rows.data(), d, d);
        ops.pack_v(v.data.data(), slot, 1, rows.data(), d, d);
        std::vector<float> back(64 * d);
        for (auto unpack : {ops.unpack_k, ops.unpack_v}) {
          unpack((unpack == ops.unpack_k ? k : v).data.data(), 0, 64, back.data(), d, d);
          for (int i = 0; i < 64 * d; ++i) {
            const bool written = i / d == slot;
            ASSERT_TRUE(same(back[i], written ? stored(format, rows[i % d]) : 1.5f));
          }
        }
      }
    }
  }
}

TEST(Pack, every_isa_stores_the_same_bits) {
  const std::vector<Isa> isas = test::tested_isas();
  for (Format format : kFormats) {
    for (int d : kSizes) {
      std::vector<float> rows = values(static_cast<size_t>(61 * d), 11);
      for (float& x : rows) x = std::isnan(x) ? 1.0f : x;  // payloads of NaN may differ
      const FormatOps& first = kernels::format_ops(isas.front(), format);
      Page k(first.k_bytes(d)), v(first.v_bytes(d));
      first.pack_k(k.data.data(), 3, 61, rows.data(), d, d);
      first.pack_v(v.data.data(), 3, 61, rows.data(), d, d);
      for (Isa isa : isas) {
        const FormatOps& ops = kernels::format_ops(isa, format);
        ASSERT_EQ(ops.k_bytes(d), k.size);
        ASSERT_EQ(ops.v_bytes(d), v.size);
        EXPECT_EQ(k.size % 64, 0u);
        EXPECT_EQ(v.size % 64, 0u);
        Page k2(k.size), v2(v.size);
        ops.pack_k(k2.data.data(), 3, 61, rows.data(), d, d);
        ops.pack_v(v2.data.data(), 3, 61, rows.data(), d, d);
        EXPECT_EQ(k.data, k2.data) << isa_name(isa) << " " << format_name(format) << " " << d;
        EXPECT_EQ(v.data, v2.data) << isa_name(isa) << " " << format_name(format) << " " << d;
      }
    }
  }
}

TEST(Pack, gathered_slots_equal_packing_the_chosen_rows) {
  for (Isa isa : test::tested_isas()) {
    for (Format format : kFormats) {
      const FormatOps& ops = kernels::format_ops(isa, format);
      const int d = 34, n = 37;
      std::vector<Page> k, v;
      std::vector<std::vector<float>> rows;
      for (uint64_t p = 0; p < 3; ++p) {
        rows.push_back(values(64 * d, 20 + p));
        k.emplace_back(ops.k_bytes(d));
        v.emplace_back(ops.v_bytes(d));
        ops.pack_k(k[p].data.data(), 0, 64, rows[p].data(), d, d);
        ops.pack_v(v[p].data.data(), 0, 64, rows[p].data(), d, d);
      }
      std::vector<const void*> from_k, from_v;
      std::vector<int32_t> slots;
      for (uint64_t i = 0; i < n; ++i) {
        const uint64_t p = random_below(5, i, 3);
        from_k.push_back(k[p].data.data());
        from_v.push_back(v[p].data.data());
        slots.push_back(static_cast<int32_t>(random_below(6, i, 64)));
      }
      Page gk(ops.k_bytes(d)), gv(ops.v_bytes(d));
      ops.gather_k(gk.data.data(), n, from_k.data(), slots.data(), d);
      ops.gather_v(gv.data.data(), n, from_v.data(), slots.data(), d);
      ASSERT_TRUE(gk.guard_intact());
      ASSERT_TRUE(gv.guard_intact());
      std::vector<float> back_k(64 * d), back_v(64 * d);
      ops.unpack_k(gk.data.data(), 0, 64, back_k.data(), d, d);
      ops.unpack_v(gv.data.data(), 0, 64, back_v.data(), d, d);
      for (int i = 0; i < 64; ++i) {
        for (int c = 0; c < d; ++c) {
          float want = 0;
          if (i < n) {
            const size_t p = static_cast<size_t>(random_below(5, static_cast<uint64_t>(i), 3));
            want = stored(format, rows[p][slots[i] * d + c]);
            ASSERT_TRUE(same(back_k[i * d + c], want));
          }
          ASSERT_TRUE(same(back_v[i * d + c], want)) << isa_name(isa) << format_name(format) << i;
        }
      }
    }
  }
}

TEST(Pack, v_from_k_is_the_transpose_of_the_first_dims) {
  for (Isa isa : test::tested_isas()) {
    for (Format format : kFormats) {
      for (int dv : {2, 14, 34, 64, 512}) {
        const FormatOps& ops = kernels::format_ops(isa, format);
        const int dk = dv + 6;
        const std::vector<float> rows = values(static_cast<size_t>(64 * dk), 31);
        Page k(ops.k_bytes(dk)), v(ops.v_bytes(dv));
        ops.pack_k(k.data.data(), 0, 64, rows.data(), dk, dk);
        ops.v_from_k(v.data.data(), k.data.data(), dv);
        ASSERT_TRUE(v.guard_intact());
        std::vector<float> back(static_cast<size_t>(64 * dv));
        ops.unpack_v(v.data.data(), 0, 64, back.data(), dv, dv);
        for (int t = 0; t < 64; ++t) {
          for (int c = 0; c < dv; ++c) {
            ASSERT_TRUE(same(back[t * dv + c], stored(format, rows[t * dk + c])))
                << isa_name(isa) << " " << format_name(format) << " " << dv << " " << t << " " << c;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed
