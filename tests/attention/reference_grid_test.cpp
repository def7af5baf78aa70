// Dense attention against the fp64 oracle, every ISA and format, over a small grid of shapes and
// score rules; units by items and by splits, on one member and three, must not change a bit. The
// oracle is the time: shapes are the smallest ones behind the boundary that they are for.
#include <gtest/gtest.h>

#include <utility>

#include "attention_suite.h"

namespace heed::test {
namespace {

void check(AttentionCase c, Isa isa) {
  c.isa = isa;
  c.threads = 3;
  double worst_ratio = 0;
  check_case(c, worst_ratio);
}

constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kBf16};

// A mask word holds 64 heads: one word exactly, one head more, and a third word with a tail.
TEST(ReferenceGrid, groups_around_and_beyond_a_mask_word) {
  for (Isa isa : tested_isas()) {
    for (int heads : {63, 64, 65, 130}) {
      check({.heads = 2 * heads, .kv_heads = 2, .dk = 32, .dv = 16, .seqs = {{5, 75}}}, isa);
    }
  }
}

// 19 tokens are one item of 1 or 3 stacked rows a token, two items of 7.
TEST(ReferenceGrid, sizes_and_groups) {
  const int sizes[][2] = {{64, 64}, {2, 6}, {30, 34}, {80, 72}, {128, 128}, {64, 192}, {256, 18}};
  const int groups[][2] = {{1, 1}, {6, 2}, {7, 1}};
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (const auto& d : sizes) {
        for (const auto& g : groups) {
          check({.k = format,
                 .v = format,
                 .heads = g[0],
                 .kv_heads = g[1],
                 .dk = d[0],
                 .dv = d[1],
                 .seqs = {{19, 149}}},
                isa);
        }
      }
    }
  }
}

TEST(ReferenceGrid, lengths_across_pages_and_splits) {
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (int history : {0, 1, 62, 63, 64, 1023, 1024, 2049}) {
        for (int rows : {1, 2, 65}) {
          check({.k = format,
                 .v = format,
                 .heads = 2,
                 .kv_heads = 1,
                 .dk = 32,
                 .dv = 32,
                 .seqs = {{rows, history + rows}}},
                isa);
        }
      }
    }
  }
}

// Lists end behind the first split (1,024 keys): the window of 100 lies across its end, that of 40
// behind it.
TEST(ReferenceGrid, masks_and_score_rules) {
  const std::pair<MaskKind, int> masks[] = {{MaskKind::kNone, 0},
                                            {MaskKind::kCausal, 0},
                                            {MaskKind::kWindow, 100},
                                            {MaskKind::kWindow, 40}};
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (const auto& [mask, window] : masks) {
        for (int rule = 0; rule < 5; ++rule) {
          check({.k = format,
                 .v = format,
                 .heads = 6,
                 .kv_heads = 2,
                 .dk = 48,
                 .dv = 32,
                 .seqs = {{7, 1090}},
                 .mask = mask,
                 .window = window,
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
          check({.k = k,
                 .v = v,
                 .heads = 4,
                 .kv_heads = 2,
                 .dk = 24,
                 .dv = 40,
                 .seqs = {{33, 123}, {33, 140}, {33, 157}},
                 .rotary = rotary,
                 .n_rot = 12},
                isa);
        }
      }
    }
  }
}

// Many rows over a few pages, and one row beyond a split, so that parts are merged.
TEST(ReferenceGrid, latent_attention_with_values_inside_the_keys_and_apart) {
  for (Isa isa : tested_isas()) {
    for (Format format : kFormats) {
      for (bool alias : {false, true}) {
        for (const SeqShape& seq : {SeqShape{7, 77}, SeqShape{1, 1031}}) {
          check({.k = format,
                 .v = format,
                 .alias = alias,
                 .heads = 16,
                 .kv_heads = 1,
                 .dk = 576,
                 .dv = 512,
                 .seqs = {seq},
                 .rotary = RotaryLayout::kAdjacent,
                 .n_rot = 64,
                 .rot_first = 512},
                isa);
        }
      }
    }
  }
}

// As the largest models have it: two items a token.
TEST(ReferenceGrid, latent_attention_of_128_heads_on_one_key) {
  for (Isa isa : tested_isas()) {
    check({.k = Format::kBf16,
           .v = Format::kBf16,
           .alias = true,
           .heads = 128,
           .kv_heads = 1,
           .dk = 576,
           .dv = 512,
           .seqs = {{2, 67}, {1, 3}},
           .rotary = RotaryLayout::kAdjacent,
           .n_rot = 64,
           .rot_first = 512},
          isa);
  }
}

}  // namespace
}  // namespace heed::test
