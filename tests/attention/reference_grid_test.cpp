// Dense attention against the fp64 reference, every ISA and format, over a small grid of shapes and
// score rules; and the two ways to make units, which must not change a bit.
#include <gtest/gtest.h>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

std::string describe(const DenseSpec& s, Isa isa) {
  std::ostringstream text;
  text << isa_name(isa) << " " << format_name(s.k) << "/" << format_name(s.v) << " heads " << s.n_q
       << "/" << s.n_kv << " d " << s.dk << "/" << s.dv << " history " << s.history << " rows "
       << s.rows << " mask " << static_cast<int>(s.mask) << " window " << s.window << " cap "
       << s.softcap << " alibi " << s.alibi << " sinks " << s.sinks << " bias " << s.bias
       << " rotary " << static_cast<int>(s.rotary);
  return text.str();
}

void check(const DenseSpec& spec, Isa isa) {
  DenseCase c(spec, isa);
  const ReferenceResult want = c.reference();
  const std::vector<float> whole = c.run_dense(1, UnitKind::kItems);
  EXPECT_LE(worst_row_error(whole, want.out, spec.dv), error_ceiling(spec, isa))
      << describe(spec, isa);
  const std::vector<float> lse = c.lse;
  for (size_t i = 0; i < lse.size(); ++i) {
    if (std::isinf(want.lse[i])) {
      EXPECT_EQ(lse[i], static_cast<float>(want.lse[i])) << describe(spec, isa);
    } else {
      EXPECT_NEAR(lse[i], want.lse[i], lse_ceiling(want.lse[i], spec, isa)) << describe(spec, isa);
    }
  }
  for (int threads : {1, 3}) {
    EXPECT_EQ(c.run_dense(threads, UnitKind::kSplits), whole) << describe(spec, isa);
    EXPECT_EQ(c.lse, lse) << describe(spec, isa);
  }
}

constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kBf16};

// A mask word holds 64 heads: one word exactly, one head more, and a third word with a tail.
TEST(ReferenceGrid, groups_around_and_beyond_a_mask_word) {
  for (Isa isa : tested_isas()) {
    for (int heads : {63, 64, 65, 130}) {
      check({.n_q = 2 * heads, .n_kv = 2, .dk = 32, .dv = 16, .history = 70, .rows = 5}, isa);
    }
  }
}

TEST(ReferenceGrid, sizes_and_groups) {
  const int sizes[][2] = {{64, 64}, {2, 6}, {30, 34}, {80, 72}, {128, 128}, {64, 192}, {256, 18}};
  const int groups[][2] = {{1, 1}, {6, 1}, {9, 3}, {14, 2}};
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (const auto& d : sizes) {
        for (const auto& g : groups) {
          check({.n_q = g[0],
                 .n_kv = g[1],
                 .dk = d[0],
                 .dv = d[1],
                 .k = format,
                 .v = format,
                 .history = 130,
                 .rows = 37},
                isa);
        }
      }
    }
  }
}

TEST(ReferenceGrid, lengths_across_pages_and_splits) {
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (int history : {0, 1, 62, 63, 64, 1023, 1024, 2100}) {
        for (int rows : {1, 2, 65}) {
          check({.n_q = 4,
                 .n_kv = 2,
                 .dk = 32,
                 .dv = 32,
                 .k = format,
                 .v = format,
                 .history = history,
                 .rows = rows},
                isa);
        }
      }
    }
  }
}

TEST(ReferenceGrid, masks_and_score_rules) {
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (MaskKind mask : {MaskKind::kNone, MaskKind::kCausal, MaskKind::kWindow}) {
        for (int rule = 0; rule < 5; ++rule) {
          check({.n_q = 6,
                 .n_kv = 2,
                 .dk = 48,
                 .dv = 32,
                 .k = format,
                 .v = format,
                 .history = 1200,
                 .rows = 21,
                 .mask = mask,
                 .window = 100,
                 .softcap = rule == 1 || rule == 4 ? 5.0f : 0,
                 .alibi = rule == 2 || rule == 4,
                 .sinks = rule == 3 || rule == 4,
                 .bias = rule == 4},
                isa);
        }
      }
    }
  }
}

TEST(ReferenceGrid, rotation_layouts_mixed_formats_and_several_sequences) {
  for (Isa isa : tested_isas()) {
    for (RotaryLayout rotary : {RotaryLayout::kAdjacent, RotaryLayout::kHalves}) {
      for (Format k : kFormats) {
        for (Format v : kFormats) {
          check({.n_q = 4,
                 .n_kv = 2,
                 .dk = 24,
                 .dv = 40,
                 .k = k,
                 .v = v,
                 .history = 90,
                 .rows = 33,
                 .sequences = 3,
                 .rotary = rotary},
                isa);
        }
      }
    }
  }
}

TEST(ReferenceGrid, latent_attention_with_values_inside_the_keys_and_apart) {
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (int history : {150, 1100}) {  // a few pages; beyond a split, so that parts are merged
        for (bool alias : {false, true}) {
          for (int rows : {1, 7}) {
            check({.n_q = 16,
                   .n_kv = 1,
                   .dk = 576,
                   .dv = 512,
                   .k = format,
                   .v = format,
                   .alias = alias,
                   .history = history,
                   .rows = rows},
                  isa);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed::test
