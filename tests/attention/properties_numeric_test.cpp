// Properties that hold up to rounding: instruction sets agree with each other, parts by tag combine
// to the whole, and skipped work is not computed.
#include "attention_compare.h"
#include "attention_rewrites.h"
#include "isa_list.h"

namespace heed::test {
namespace {

std::vector<AttentionCase> problems() {
  std::vector<AttentionCase> cases;
  for (int f = 0; f < kFormatCount; ++f) {
    for (int variant = 0; variant < 9; ++variant) {
      AttentionCase c;
      c.k = c.v = static_cast<Format>(f);
      c.heads = 6;
      c.kv_heads = 2;
      c.dk = c.dv = variant % 2 == 0 ? 64 : 98;
      c.seqs = {{33, 33}, {1, 1090}, {17, 200}};
      c.softcap = variant == 1 ? 8.0f : 0.0f;
      c.alibi = variant == 2;
      c.sinks = variant == 3;
      c.scale = variant == 4 ? 0.5f : 0.0f;  // peaked rows
      if (variant == 5) c.plan = PlanKind::kMixed, c.tile_masks = true;
      // Against the grain: one key takes all, keys weigh the same, scores from large terms.
      if (variant == 6) c.scale = 4.0f;
      if (variant == 7) c.scale = 1e-4f, c.mask = MaskKind::kNone;
      if (variant == 8) c.alibi = c.bias = c.sinks = c.live = true, c.scale = 1.0f;
      c.seed = 900 + variant;
      cases.push_back(c);
    }
  }
  return cases;
}

// Each against the scalar table: both are within their tolerance of the oracle, so their distance
// is at most the sum of the two. Both tolerances are measured, row by row.
TEST(IsaAgreement, every_instruction_set_is_close_to_scalar) {
  for (AttentionCase c : problems()) {
    c.isa = Isa::kScalar;
    AttentionProblem scalar(c);
    const Output expected = scalar.run(1);
    const std::vector<Tolerance> own = tolerances(scalar, row_errors(scalar, expected));
    for (Isa isa : tested_isas()) {
      c.isa = isa;
      AttentionProblem problem(c);
      const Output output = problem.run(2);
      SCOPED_TRACE(to_text(c));
      ASSERT_EQ(output.out.size(), expected.out.size());
      const std::vector<RowErrors> errors = row_errors(problem, output);
      const std::vector<Tolerance> other = tolerances(problem, errors);
      ASSERT_EQ(other.size(), own.size());
      for (size_t i = 0; i < errors.size(); ++i) {
        const RowErrors& e = errors[i];
        const Item& item = problem.plan().items[e.item];
        const int64_t row = problem.call().seqs[item.seq].first + item.row + e.row;
        const int64_t at = row * c.heads + e.head;
        const std::vector<double> base(expected.out.begin() + at * c.dv,
                                       expected.out.begin() + (at + 1) * c.dv);
        const double distance =
            detail::relative_l2(base.data(), output.out.data() + at * c.dv, c.dv);
        ASSERT_LE(distance, own[i].out + other[i].out) << "row " << row;
        if (std::isinf(expected.lse[at])) {
          ASSERT_EQ(output.lse[at], expected.lse[at]) << "row " << row;
        } else {
          ASSERT_NEAR(output.lse[at], expected.lse[at], own[i].lse + other[i].lse) << "row " << row;
        }
      }
    }
  }
}

// The ranges of a dense plan dealt to three tags: combine gives what one tag gives.
TEST(Combine, parts_by_tag_give_the_whole) {
  for (AttentionCase c : problems()) {
    if (c.plan != PlanKind::kDense) continue;
    c.isa = tested_isas().back();
    AttentionProblem whole(c);
    const Output expected = whole.run(2);
    c.tags = 3;
    AttentionProblem parts(c);
    deal_pages(parts.plan(), c.tags);
    const Output output = parts.run(2);
    const int64_t t = c.rows(), h = c.heads, dv = c.dv;
    std::vector<float> out(t * h * dv), lse(t * h);
    combine(View<const float, 4>::contiguous(output.out.data(), {c.tags, t, h, dv}),
            View<const float, 3>::contiguous(output.lse.data(), {c.tags, t, h}),
            View<float, 3>::contiguous(out.data(), {t, h, dv}),
            View<float, 2>::contiguous(lse.data(), {t, h}));
    SCOPED_TRACE(to_text(c));
    // The combined rows are one more output of the same problem: same oracle, same tolerance.
    const Comparison result = compare(whole, Output{out, lse});
    EXPECT_EQ(result.failures, 0) << result.first_failure;
    EXPECT_EQ(result.rows, t * h);
    EXPECT_EQ(expected.out.size(), out.size());
  }
}

TEST(Combine, parts_that_saw_nothing_do_not_count) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  // [2 tags, 2 rows, 1 head, 2]; whatever the parts that saw nothing hold.
  const std::vector<float> parts = {NAN, NAN, 3, 4, 7, 7, NAN, 9};
  const std::vector<float> part_lse = {-kInf, -kInf, 0.5f, -kInf};
  std::vector<float> out(4, -1), lse(2, -1);
  combine(View<const float, 4>::contiguous(parts.data(), {2, 2, 1, 2}),
          View<const float, 3>::contiguous(part_lse.data(), {2, 2, 1}),
          View<float, 3>::contiguous(out.data(), {2, 1, 2}),
          View<float, 2>::contiguous(lse.data(), {2, 1}));
  EXPECT_EQ(out, (std::vector<float>{7, 7, 0, 0}));
  EXPECT_EQ(lse, (std::vector<float>{0.5f, -kInf}));
}

// Tiles are (stacked row, page) pairs; a page that a row does not see costs nothing.
TEST(Counters, tiles_equal_the_pages_that_rows_see) {
  for (Isa isa : tested_isas()) {
    for (const auto& [mask, window] :
         {std::pair{MaskKind::kCausal, 0}, {MaskKind::kWindow, 100}, {MaskKind::kNone, 0}}) {
      AttentionCase c;
      c.isa = isa;
      c.heads = 4;
      c.kv_heads = 2;
      c.dk = c.dv = 32;
      c.mask = mask;
      c.window = window;
      c.seqs = {{70, 500}, {1, 64}, {3, 0}};
      AttentionProblem problem(c);
      problem.run(2);
      uint64_t expected = 0;
      for (const SeqRows& seq : problem.seqs()) {
        const int64_t len = seq.lists[0].len;
        for (int t = 0; t < seq.rows; ++t) {
          const int64_t p = seq.pos0 + t;
          const int64_t end = mask == MaskKind::kNone ? len : std::min(len, p + 1);
          const int64_t first =
              mask == MaskKind::kWindow ? std::max<int64_t>(0, p - window + 1) : 0;
          if (first < end) expected += ((end - 1) / 64 - first / 64 + 1) * c.heads;
        }
      }
      EXPECT_EQ(problem.last_counters().tiles, expected) << to_text(c);
    }
  }
}

}  // namespace
}  // namespace heed::test
