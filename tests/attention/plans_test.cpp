// Plans that are not dense: page ranges, gathered slots, tile masks, rotation deltas and tags,
// drawn at random, against the fp64 reference that follows the same plan; parts combine to the
// whole.
#include <gtest/gtest.h>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

constexpr int kDeltas = 5;

struct Deltas {
  std::vector<float> cos, sin;
};

Deltas make_deltas(DenseCase& c) {
  RotarySpec rope;
  rope.layout = c.spec.rotary;
  rope.n_rot = c.call.rotary.n_rot;
  const std::vector<double> frequencies = *rotary_frequencies(rope);
  const std::vector<int64_t> offsets = {0, -7, 13, -400, 1000};
  Deltas d;
  d.cos.resize(kDeltas * frequencies.size());
  d.sin.resize(d.cos.size());
  rotary_table(frequencies, offsets, d.cos.data(), d.sin.data());
  const int64_t half = static_cast<int64_t>(frequencies.size());
  c.call.rot_deltas_cos = View<const float, 2>::contiguous(d.cos.data(), {kDeltas, half});
  c.call.rot_deltas_sin = View<const float, 2>::contiguous(d.sin.data(), {kDeltas, half});
  return d;
}

void add_mask(Plan& plan, Range& range, int rows, int pages, Random& random) {
  range.tile_mask = static_cast<int32_t>(plan.tile_masks.size());
  for (int i = 0; i < rows * pages; ++i) {
    const uint64_t kind = random.below(4);  // none, all, sparse, dense
    const uint64_t bits = random.bits();
    plan.tile_masks.push_back(kind == 0   ? 0
                              : kind == 1 ? ~uint64_t{0}
                              : kind == 2 ? bits & random.bits()
                                          : bits | random.bits());
  }
}

// Keeps the items of the dense plan and draws what they read.
Plan random_plan(const Call& call, uint64_t seed) {
  Plan dense, plan;
  EXPECT_TRUE(plan_dense(call, dense).is_ok());
  Random random(seed);
  for (Item item : dense.items) {
    const ListView& list = call.seqs[item.seq].lists[item.kv_head];
    const int pages = (list.len + 63) / 64;
    item.range = static_cast<int32_t>(plan.ranges.size());
    for (int tag = 0; tag < call.tags; ++tag) {
      for (uint64_t n = random.below(4); n > 0; --n) {
        Range range;
        range.tag = static_cast<uint8_t>(tag);
        if (call.rot_deltas_cos.data != nullptr) range.rot = random.below(kDeltas);
        range.source = random.below(3) == 0;
        if (range.source == 0) {
          range.begin = static_cast<int32_t>(random.below(pages));
          range.len = static_cast<int32_t>(random.below(pages - range.begin + 1));
          if (random.below(2) == 0) add_mask(plan, range, item.rows, range.len, random);
        } else {
          range.begin = static_cast<int32_t>(plan.gather.size());
          for (int slot = 0; slot < list.len; ++slot) {
            if (random.below(3) == 0) plan.gather.push_back(slot);
          }
          range.len = static_cast<int32_t>(plan.gather.size()) - range.begin;
          const int masked = (range.len + 63) / 64;
          if (random.below(2) == 0) add_mask(plan, range, item.rows, masked, random);
        }
        plan.ranges.push_back(range);
      }
    }
    item.ranges = static_cast<int32_t>(plan.ranges.size()) - item.range;
    plan.items.push_back(item);
  }
  return plan;
}

DenseSpec spec_of(Format format, uint64_t seed) {
  DenseSpec spec{.n_q = 6,
                 .n_kv = 2,
                 .dk = 32,
                 .dv = 20,
                 .k = format,
                 .v = format,
                 .history = 1300,
                 .rows = 30,
                 .sequences = 2};
  spec.rotary = seed % 3 == 0   ? RotaryLayout::kNone
                : seed % 3 == 1 ? RotaryLayout::kAdjacent
                                : RotaryLayout::kHalves;
  spec.mask = seed % 2 == 0 ? MaskKind::kCausal : MaskKind::kNone;
  spec.tags = static_cast<int>(1 + seed % 3);
  spec.alias = seed % 5 == 4;
  spec.alibi = seed % 7 == 6;
  spec.seed = seed;
  return spec;
}

TEST(Plans, random_plans_equal_the_reference_whatever_the_units_and_threads) {
  for (Isa isa : tested_isas()) {
    for (Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
      for (uint64_t seed = 0; seed < 8; ++seed) {
        const DenseSpec spec = spec_of(format, seed);
        DenseCase c(spec, isa);
        Deltas deltas;
        if (spec.rotary != RotaryLayout::kNone) deltas = make_deltas(c);
        const Plan plan = random_plan(c.call, seed);
        const ReferenceResult want = c.reference(plan_reads(plan, c.call));
        const std::vector<float> whole = c.run_plan(plan, 1, UnitKind::kItems);
        const std::vector<float> lse = c.lse;
        EXPECT_LE(worst_row_error(whole, want.out, spec.dv), error_ceiling(spec, isa))
            << isa_name(isa) << " " << format_name(format) << " seed " << seed;
        for (size_t i = 0; i < lse.size(); ++i) {
          if (std::isinf(want.lse[i])) {
            EXPECT_EQ(lse[i], static_cast<float>(want.lse[i]));
          } else {
            EXPECT_NEAR(lse[i], want.lse[i], lse_ceiling(want.lse[i], spec, isa));
          }
        }
        EXPECT_EQ(c.run_plan(plan, 3, UnitKind::kItems), whole);
        EXPECT_EQ(c.run_plan(plan, 1, UnitKind::kSplits), whole);
        EXPECT_EQ(c.run_plan(plan, 2, UnitKind::kSplits), whole);
        EXPECT_EQ(c.lse, lse);
      }
    }
  }
}

TEST(Plans, parts_by_tag_combine_to_the_attention_over_all_of_them) {
  for (Isa isa : tested_isas()) {
    const DenseSpec spec{
        .n_q = 4, .n_kv = 2, .dk = 32, .dv = 32, .history = 700, .rows = 9, .tags = 3};
    DenseCase c(spec, isa);
    Plan plan;
    EXPECT_TRUE(plan_dense(c.call, plan).is_ok());
    Plan parts;
    for (Item item : plan.items) {
      const Range all = plan.ranges[item.range];
      item.range = static_cast<int32_t>(parts.ranges.size());
      item.ranges = 3;
      const int cut[] = {0, all.len / 3, all.len / 2, all.len};
      for (int i = 0; i < 3; ++i) {
        Range part = all;
        part.tag = static_cast<uint8_t>(i);
        part.begin = all.begin + cut[i];
        part.len = cut[i + 1] - cut[i];
        parts.ranges.push_back(part);
      }
      parts.items.push_back(item);
    }
    c.run_plan(parts, 2);
    std::vector<float> out(static_cast<size_t>(spec.rows * spec.n_q * spec.dv));
    std::vector<float> lse(static_cast<size_t>(spec.rows * spec.n_q));
    const auto out_view = View<float, 3>::contiguous(out.data(), {spec.rows, spec.n_q, spec.dv});
    const View<float, 4>& o = c.call.part_out;
    const View<float, 3>& l = c.call.part_lse;
    combine({o.data, o.shape, o.stride}, {l.data, l.shape, l.stride}, out_view,
            View<float, 2>::contiguous(lse.data(), {spec.rows, spec.n_q}));
    DenseSpec one = spec;
    one.tags = 1;
    DenseCase whole(one, isa);
    const ReferenceResult want = whole.reference();
    EXPECT_LE(worst_row_error(out, want.out, spec.dv), 2e-5) << isa_name(isa);
    for (size_t i = 0; i < lse.size(); ++i) EXPECT_NEAR(lse[i], want.lse[i], 4e-5);
  }
}

TEST(Plans, combine_of_empty_parts_is_zero_and_minus_infinity) {
  const float inf = INFINITY;
  const float parts[] = {NAN, NAN, 1, 2}, none[] = {NAN, NAN, NAN, NAN};
  const float lse_one[] = {-inf, 3}, lse_none[] = {-inf, -inf};
  float out[2], lse[1];
  const auto combined = [&](const float* p, const float* l) {
    combine(View<const float, 4>::contiguous(p, {2, 1, 1, 2}),
            View<const float, 3>::contiguous(l, {2, 1, 1}),
            View<float, 3>::contiguous(out, {1, 1, 2}), View<float, 2>::contiguous(lse, {1, 1}));
  };
  combined(parts, lse_one);
  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[1], 2);
  EXPECT_EQ(lse[0], 3);
  combined(none, lse_none);
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(lse[0], -inf);
}

TEST(Plans, rows_outside_every_item_are_not_written_and_items_without_ranges_give_zero) {
  for (Isa isa : tested_isas()) {
    DenseCase c({.n_q = 2, .n_kv = 1, .dk = 16, .dv = 16, .history = 80, .rows = 4}, isa);
    Plan plan;
    plan.items.push_back({.seq = 0, .kv_head = 0, .head_mask = 2, .row = 1, .rows = 2});
    const std::vector<float> out = c.run_plan(plan, 2);
    for (int t = 0; t < 4; ++t) {
      for (int h = 0; h < 2; ++h) {
        const bool covered = h == 1 && (t == 1 || t == 2);
        EXPECT_EQ(out[static_cast<size_t>((t * 2 + h) * 16)], covered ? 0.0f : -77.0f);
        EXPECT_EQ(c.lse[static_cast<size_t>(t * 2 + h)], covered ? -INFINITY : -77.0f);
      }
    }
  }
}

TEST(Plans, skipped_pages_are_not_computed) {
  for (Isa isa : tested_isas()) {
    DenseCase c({.n_q = 2, .n_kv = 1, .dk = 16, .dv = 16, .history = 64 * 40 - 1, .rows = 1}, isa);
    Plan plan;
    EXPECT_TRUE(plan_dense(c.call, plan).is_ok());
    c.run_plan(plan, 2);
    EXPECT_EQ(c.last.pages, 40u);
    EXPECT_EQ(c.last.tiles, 80u);
    plan.ranges[0].len = 10;
    c.run_plan(plan, 2);
    EXPECT_EQ(c.last.pages, 10u);
    EXPECT_EQ(c.last.tiles, 20u);
  }
}

}  // namespace
}  // namespace heed::test
