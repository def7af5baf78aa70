// The determinism contract: a row's bits depend on its query, its plan and its key list, and on
// nothing else. Every test here compares bits.
#include <cstring>

#include "attention/workspace.h"
#include "attention_compare.h"
#include "attention_rewrites.h"
#include "isa_list.h"

namespace heed::test {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_same(const Output& a, const Output& b) {
  EXPECT_TRUE(same_bits(a.out, b.out));
  EXPECT_TRUE(same_bits(a.lse, b.lse));
}

// Dense problems that together reach masks, tails, splits, groups and every arithmetic.
std::vector<AttentionCase> dense_cases() {
  std::vector<AttentionCase> cases;
  uint64_t seed = 100;
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      for (MaskKind mask : {MaskKind::kCausal, MaskKind::kWindow, MaskKind::kNone}) {
        AttentionCase c;
        c.isa = isa;
        c.k = c.v = static_cast<Format>(f);
        c.heads = 6;
        c.kv_heads = 2;
        c.dk = c.dv = f == 0 ? 34 : 64;
        c.mask = mask;
        c.window = mask == MaskKind::kWindow ? 77 : 0;
        c.seqs = {{41, 1150}};
        c.alibi = f == 1;
        c.softcap = f == 2 && mask == MaskKind::kNone ? 20.0f : 0.0f;
        c.seed = seed++;
        cases.push_back(c);
      }
    }
  }
  return cases;
}

std::vector<AttentionCase> masked_cases() {
  std::vector<AttentionCase> cases = dense_cases();
  std::erase_if(cases, [](const AttentionCase& c) { return c.mask == MaskKind::kNone; });
  return cases;
}

class Bits : public ::testing::TestWithParam<AttentionCase> {};
class MaskedBits : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(Bits, threads_do_not_change_a_row) {
  AttentionProblem problem(GetParam());
  const Output one = problem.run(1);
  for (int threads : {2, 3, 8}) expect_same(problem.run(threads), one);
}

// Rows [first, first + rows) of the problem's sequence as a call of their own.
Output run_rows(AttentionProblem& problem, int first, int rows, int threads) {
  Call& call = problem.call();
  SeqRows part = problem.seqs()[0];
  part.first += first;
  part.rows = rows;
  part.pos0 += first;
  if (part.pos) part.pos += first;
  const SeqRows only[] = {part};
  const auto all = call.seqs;
  call.seqs = only;
  problem.plan().clear();
  EXPECT_TRUE(plan_dense(call, problem.plan()).is_ok());
  Output out = problem.run(threads);
  call.seqs = all;
  return out;
}

void copy_rows(const Output& from, int first, int rows, const AttentionCase& c, Output& to) {
  const int64_t width = int64_t{c.heads} * c.dv;
  std::copy_n(from.out.begin() + first * width, rows * width, to.out.begin() + first * width);
  std::copy_n(from.lse.begin() + first * c.heads, rows * c.heads, to.lse.begin() + first * c.heads);
}

TEST_P(Bits, any_chunking_of_the_queries_gives_the_same_rows) {
  const AttentionCase& c = GetParam();
  AttentionProblem problem(c);
  const Output whole = problem.run(2);
  const int rows = c.seqs[0].rows;
  for (const std::vector<int>& sizes :
       std::vector<std::vector<int>>{{1}, {7}, {16, 1}, {20, 21}, {40, 1}, {5, 13, 2}}) {
    Output pieces = whole;
    std::fill(pieces.out.begin(), pieces.out.end(), 0.0f);
    std::fill(pieces.lse.begin(), pieces.lse.end(), 0.0f);
    int first = 0;
    for (size_t i = 0; first < rows; ++i) {
      const int n = std::min(sizes[i % sizes.size()], rows - first);
      copy_rows(run_rows(problem, first, n, 1 + static_cast<int>(i % 2)), first, n, c, pieces);
      first += n;
    }
    expect_same(pieces, whole);
  }
}

// The key list at the time of an early chunk ends at that chunk: later keys must not matter.
TEST_P(MaskedBits, keys_behind_the_mask_do_not_change_a_row) {
  const AttentionCase& c = GetParam();
  AttentionProblem problem(c);
  const Output whole = problem.run(1);
  const int rows = 20;  // the first 20 queries, with the keys up to the last of them
  const SeqRows all = problem.seqs()[0];
  ASSERT_TRUE(problem.store().truncate(problem.ids()[0], all.pos0 + rows).is_ok());
  const Output early = run_rows(problem, 0, rows, 2);
  Output expected = early;
  copy_rows(whole, 0, rows, c, expected);
  expect_same(early, expected);
}

TEST_P(Bits, whole_items_equal_split_units) {
  AttentionProblem problem(GetParam());
  const Output expected = problem.run(1);
  for (int threads : {1, 3}) {
    for (UnitKind units : {UnitKind::kItems, UnitKind::kSplits}) {
      expect_same(problem.run(threads, units), expected);
    }
  }
}

TEST_P(Bits, layouts_of_query_and_output_equal_contiguous_ones) {
  AttentionCase c = GetParam();
  const Output expected = AttentionProblem(c).run(1);
  for (Layout layout : {Layout::kHeadsFirst, Layout::kPadded}) {
    c.layout = layout;
    AttentionProblem problem(c);
    expect_same(problem.run(2), expected);
    EXPECT_EQ(problem.overruns(), 0);
  }
}

TEST_P(Bits, a_fork_equals_its_original) {
  AttentionProblem problem(GetParam());
  const Output expected = problem.run(1);
  const SeqId child = *problem.store().fork(problem.ids()[0]);
  problem.seqs()[0].lists = problem.store().lists(child, 0);
  expect_same(problem.run(1), expected);
  // The fork goes its own way; the original does not move.
  ASSERT_TRUE(problem.store().begin_append(child, 1).is_ok());
  problem.store().commit(child);
  problem.seqs()[0].lists = problem.store().lists(problem.ids()[0], 0);
  expect_same(problem.run(1), expected);
}

// A row alone, in a tile of any height, and below or above other rows has the same bits.
TEST_P(Bits, height_and_place_in_the_tile_do_not_change_a_row) {
  const AttentionCase& c = GetParam();
  AttentionProblem problem(c);
  const Output whole = problem.run(1);
  for (int rows = 1; rows <= 13; ++rows) {
    const int first = 30 - rows / 2;
    Output part = whole;
    copy_rows(run_rows(problem, first, rows, 1), first, rows, c, part);
    expect_same(part, whole);
  }
}

TEST_P(Bits, query_heads_in_one_item_or_in_items_of_their_own_are_equal) {
  AttentionProblem problem(GetParam());
  const Output expected = problem.run(1);
  const Plan dense = problem.plan();
  problem.plan().items.clear();
  for (const Item& item : dense.items) {
    for (int bit = 0; bit < 64; ++bit) {
      if (!(item.head_mask >> bit & 1)) continue;
      Item alone = item;
      alone.head_mask = uint64_t{1} << bit;
      problem.plan().items.push_back(alone);
    }
  }
  expect_same(problem.run(2), expected);
}

std::string name_of_case(const ::testing::TestParamInfo<AttentionCase>& info) {
  static constexpr const char* kMasks[] = {"none", "causal", "window"};
  const AttentionCase& c = info.param;
  return cat(isa_name(c.isa), "_", format_name(c.k), "_", kMasks[static_cast<int>(c.mask)]);
}

INSTANTIATE_TEST_SUITE_P(Dense, Bits, ::testing::ValuesIn(dense_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Dense, MaskedBits, ::testing::ValuesIn(masked_cases()), name_of_case);

// One sequence alone and among others, as first, middle or last of the batch.
TEST(BatchBits, company_does_not_change_a_sequence) {
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      AttentionCase c;
      c.isa = isa;
      c.k = c.v = static_cast<Format>(f);
      c.heads = 6;
      c.kv_heads = 2;
      c.seqs = {{5, 700}, {1, 1100}, {40, 90}, {1, 3}, {17, 17}};
      AttentionProblem problem(c);
      const Output batch = problem.run(3);
      const std::vector<SeqRows> all = problem.seqs();
      for (const std::vector<int>& mix : std::vector<std::vector<int>>{
               {0}, {1}, {2}, {3}, {4}, {1, 3}, {4, 0}, {3, 2, 1}, {4, 3, 2, 1, 0}}) {
        std::vector<SeqRows> some;
        for (int s : mix) some.push_back(all[s]);
        problem.call().seqs = some;
        problem.plan().clear();
        EXPECT_TRUE(plan_dense(problem.call(), problem.plan()).is_ok());
        const Output part = problem.run(2);
        for (const SeqRows& s : some) {
          Output expected = part;
          copy_rows(batch, s.first, s.rows, c, expected);
          expect_same(part, expected);
        }
      }
    }
  }
}

// Where the pages lie: a sequence written alone, and one whose pages were taken from a store full
// of holes in random order.
TEST(PagedBits, paged_equals_contiguous) {
  for (const AttentionCase& c : dense_cases()) {
    AttentionProblem contiguous(c);
    const Output expected = contiguous.run(1);
    AttentionProblem scattered(c);
    scatter_pages(scattered, c.seed);
    bool moved = false;
    const ListView& a = contiguous.seqs()[0].lists[0];
    const ListView& b = scattered.seqs()[0].lists[0];
    for (int p = 0; p * kPageTokens < a.len; ++p) moved = moved || a.pages[p] != b.pages[p];
    ASSERT_TRUE(moved);
    expect_same(scattered.run(2), expected);
  }
}

// Plans that name the same slots in other ways.
TEST(PlanBits, gather_of_every_slot_equals_dense) {
  for (AttentionCase c : dense_cases()) {
    if (c.mask != MaskKind::kCausal) continue;
    AttentionProblem problem(c);
    const Output dense = problem.run(1);
    Plan& plan = problem.plan();
    const int len = problem.seqs()[0].lists[0].len;
    plan.gather.resize(len);
    for (int i = 0; i < len; ++i) plan.gather[i] = i;
    plan.ranges = {{0, len, 1, 0, 0, -1}};
    for (Item& item : plan.items) item.range = 0, item.ranges = 1;
    expect_same(problem.run(2), dense);
  }
}

TEST(PlanBits, ranges_cut_anywhere_equal_one_range) {
  size_t cuts = 0;
  for (const AttentionCase& c : dense_cases()) {
    AttentionProblem problem(c);
    const Output dense = problem.run(1);
    Plan& plan = problem.plan();
    const Plan whole = plan;
    plan.ranges.clear();
    Random random(c.seed);
    for (Item& item : plan.items) {
      const int first = static_cast<int>(plan.ranges.size());
      for (int i = item.range; i < item.range + item.ranges; ++i) {
        const Range& range = whole.ranges[i];
        for (int at = 0; at < range.len;) {
          Range piece = range;
          piece.begin += at;
          piece.len = std::min<int>(range.len - at, 1 + static_cast<int>(random.below(5)));
          plan.ranges.push_back(piece);
          at += piece.len;
        }
      }
      item.range = first;
      item.ranges = static_cast<int>(plan.ranges.size()) - first;
    }
    cuts += plan.ranges.size() - whole.ranges.size();
    expect_same(problem.run(2), dense);
  }
  EXPECT_GT(cuts, 100u);
}

TEST(PlanBits, explicit_masks_of_ones_equal_dense) {
  for (const AttentionCase& c : dense_cases()) {
    AttentionProblem problem(c);
    const Output dense = problem.run(1);
    Plan& plan = problem.plan();
    for (const Item& item : plan.items) {
      for (int i = item.range; i < item.range + item.ranges; ++i) {
        plan.ranges[i].tile_mask = static_cast<int32_t>(plan.tile_masks.size());
        plan.tile_masks.resize(plan.tile_masks.size() + item.rows * plan.ranges[i].len,
                               ~uint64_t{0});
      }
    }
    expect_same(problem.run(2), dense);
  }
}

TEST(PlanBits, one_mask_row_equals_a_copy_for_each_row) {
  int shared = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    for (Isa isa : tested_isas()) {
      AttentionCase c{.isa = isa,
                      .heads = 6,
                      .kv_heads = 2,
                      .dk = 32,
                      .dv = 32,
                      .seqs = {{30, 300}, {9, 9}},
                      .seed = seed};
      c.plan = PlanKind::kMixed;
      c.tile_masks = true;
      AttentionProblem problem(c);
      const Output one = problem.run(2);
      Plan& plan = problem.plan();
      for (const Item& item : plan.items) {
        for (int i = item.range; i < item.range + item.ranges; ++i) {
          Range& range = plan.ranges[i];
          if (!range.one_mask) continue;
          const int pages =
              range.source == 0 ? range.len : (range.len + kPageTokens - 1) / kPageTokens;
          const int32_t row = range.tile_mask;
          range.one_mask = false;
          range.tile_mask = static_cast<int32_t>(plan.tile_masks.size());
          for (int t = 0; t < item.rows; ++t) {
            for (int j = 0; j < pages; ++j) plan.tile_masks.push_back(plan.tile_masks[row + j]);
          }
          ++shared;
        }
      }
      expect_same(problem.run(2), one);
    }
  }
  EXPECT_GT(shared, 100);
}

// What a call leaves in its workspace (scratch, partial results, the counter that deals units) does
// not reach the next one: other shapes, other units, another number of members.
TEST(RunBits, calls_that_share_a_workspace_do_not_see_each_other) {
  for (Isa isa : tested_isas()) {
    Workspace workspace(isa, 3);
    cpu::Team one(1), two(2), three(3);
    cpu::Team* const teams[] = {&one, &two, &three};
    std::vector<std::unique_ptr<AttentionProblem>> problems;
    std::vector<Output> expected;
    for (const AttentionCase& c : dense_cases()) {
      if (c.isa != isa) continue;
      problems.push_back(std::make_unique<AttentionProblem>(c));
      expected.push_back(problems.back()->run(1));
    }
    Random random(31);
    for (int i = 0; i < 60; ++i) {
      const size_t p = random.below(problems.size());
      const int members = 1 + static_cast<int>(random.below(3));
      const UnitKind units = i % 2 == 0 ? UnitKind::kItems : UnitKind::kSplits;
      SCOPED_TRACE(cat("call ", i, " problem ", p, " members ", members));
      expect_same(problems[p]->run(workspace, *teams[members - 1], members, units), expected[p]);
    }
  }
}

TEST(RunBits, running_twice_gives_the_same_bits) {
  for (const AttentionCase& c : dense_cases()) {
    AttentionProblem problem(c);
    expect_same(problem.run(2), problem.run(2));
  }
}

}  // namespace
}  // namespace heed::test
