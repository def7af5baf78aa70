// No read or write outside the operands: queries, outputs, log-sum-exps, rotation tables, slopes,
// sinks, side arrays, rows to append and every page of the store lie directly behind, then directly
// before, memory that faults when touched. The plan's arrays end where AddressSanitizer sees it
// (make asan).
#include "attention_compare.h"
#include "guard_memory.h"
#include "isa_list.h"

namespace heed::test {
namespace {

class GuardPages : public ::testing::TestWithParam<GuardSide> {};

// Copies of arrays, each between guards.
class GuardedCopies {
 public:
  explicit GuardedCopies(GuardSide side) : side_(side) {}

  // Null stays null.
  template <class T>
  const T* copy(const T* from, int64_t n) {
    if (from == nullptr || n == 0) return from;
    copies_.push_back(std::make_unique<GuardMemory>(sizeof(T) * n, side_));
    std::memcpy(copies_.back()->data(), from, sizeof(T) * n);
    return static_cast<const T*>(copies_.back()->data());
  }
  size_t size() const { return copies_.size(); }

 private:
  GuardSide side_;
  std::vector<std::unique_ptr<GuardMemory>> copies_;
};

// Moves what a call reads besides queries and pages; `lists` holds the moved side arrays.
void guard_inputs(AttentionProblem& problem, GuardedCopies& copies, std::vector<ListView>& lists) {
  const AttentionCase& c = problem.problem();
  Call& call = problem.call();
  call.alibi = copies.copy(call.alibi, c.heads);
  call.sinks = copies.copy(call.sinks, c.heads);
  const int64_t half = c.n_rot / 2;
  call.rotary.cos = copies.copy(call.rotary.cos, c.rows() * half);
  call.rotary.sin = copies.copy(call.rotary.sin, c.rows() * half);
  auto& deltas_cos = call.rot_deltas_cos;
  auto& deltas_sin = call.rot_deltas_sin;
  deltas_cos.data = copies.copy(deltas_cos.data, (c.deltas + 1) * half);
  deltas_sin.data = copies.copy(deltas_sin.data, (c.deltas + 1) * half);
  for (SeqRows& seq : problem.seqs()) {
    seq.pos = copies.copy(seq.pos, seq.rows);
    for (int g = 0; g < c.kv_heads; ++g) {
      ListView list = seq.lists[g];
      list.pos = copies.copy(list.pos, list.len);
      list.bias = copies.copy(list.bias, list.len);
      const int64_t pages = (list.len + kPageTokens - 1) / kPageTokens;
      list.live = copies.copy(list.live, pages);
      list.pages = copies.copy(list.pages, pages);
      lists.push_back(list);
    }
  }
  for (size_t s = 0; s < problem.seqs().size(); ++s) {
    problem.seqs()[s].lists = lists.data() + s * c.kv_heads;
  }
}

// Runs the problem with its buffers moved between guards; the result equals the unguarded run.
void check_guarded(const AttentionCase& c, GuardSide side) {
  SCOPED_TRACE(to_text(c));
  AttentionProblem plain(c);
  const Output expected = plain.run(1);
  AttentionProblem guarded(c, std::make_unique<GuardArenas>(side));
  const int64_t t = c.rows(), h = c.heads;
  GuardMemory q(sizeof(float) * t * h * c.dk, side);
  GuardMemory out(sizeof(float) * c.tags * t * h * c.dv, side);
  GuardMemory lse(sizeof(float) * c.tags * t * h, side);
  Call& call = guarded.call();
  for (int64_t i = 0; i < t; ++i) {
    for (int64_t j = 0; j < h; ++j) {
      std::memcpy(q.floats() + (i * h + j) * c.dk, &call.q(i, j, 0), sizeof(float) * c.dk);
    }
  }
  call.q = View<const float, 3>::contiguous(q.floats(), {t, h, c.dk});
  if (c.tags == 1) {
    call.out = View<float, 3>::contiguous(out.floats(), {t, h, c.dv});
    call.lse = View<float, 2>::contiguous(lse.floats(), {t, h});
  } else {
    call.part_out = View<float, 4>::contiguous(out.floats(), {c.tags, t, h, c.dv});
    call.part_lse = View<float, 3>::contiguous(lse.floats(), {c.tags, t, h});
  }
  GuardedCopies copies(side);
  std::vector<ListView> lists;
  guard_inputs(guarded, copies, lists);
  EXPECT_GE(copies.size(), c.seqs.size());
  Plan& plan = guarded.plan();
  plan.items.shrink_to_fit();
  plan.ranges.shrink_to_fit();
  plan.gather.shrink_to_fit();
  plan.tile_masks.shrink_to_fit();
  guarded.run(2);
  ASSERT_EQ(std::memcmp(out.data(), expected.out.data(), sizeof(float) * expected.out.size()), 0);
  ASSERT_EQ(std::memcmp(lse.data(), expected.lse.data(), sizeof(float) * expected.lse.size()), 0);
}

TEST_P(GuardPages, nothing_outside_the_operands_is_touched) {
  uint64_t seed = 1;
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      for (const auto& [dk, dv] :
           {std::pair{2, 2}, {34, 6}, {64, 64}, {66, 130}, {80, 80}, {576, 512}}) {
        for (int variant = 0; variant < 4; ++variant) {
          AttentionCase c;
          c.isa = isa;
          c.k = c.v = static_cast<Format>(f);
          c.heads = dk == 576 ? 16 : 3;  // latent attention as it is built
          c.dk = dk;
          c.dv = dv;
          c.seqs = {{1, 65}, {dk == 576 ? 5 : 13, 129}, {7, 7}};
          c.seed = seed++;
          c.alibi = c.sinks = variant == 1;
          c.bias = c.live = c.gaps = variant == 1;
          if (variant >= 2) c.rotary = RotaryLayout::kHalves, c.n_rot = dk / 4 * 2;
          if (c.n_rot == 0) c.rotary = RotaryLayout::kNone;
          if (variant == 3) c.rot_first = dk - c.n_rot;
          if (variant == 2)
            c.plan = PlanKind::kMixed, c.tile_masks = true, c.tags = 2, c.deltas = 2;
          if (variant == 2 && c.n_rot == 0) c.deltas = 0;
          if (variant == 3) c.alias = dv <= dk, c.mask = MaskKind::kNone, c.softcap = 10;
          check_guarded(c, GetParam());
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Rows to append, contiguous and with their last one at the very end of the memory.
TEST_P(GuardPages, append_reads_its_rows_only) {
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      for (const auto& [dk, dv] : {std::pair{2, 2}, {34, 6}, {66, 130}}) {
        StoreDesc desc;
        desc.isa = isa;
        desc.layers = {{2, dk, dv, static_cast<Format>(f), static_cast<Format>(f)}};
        auto store = Store::create(desc, std::make_unique<GuardArenas>(GetParam()));
        ASSERT_TRUE(store.is_ok()) << store.message();
        const SeqId seq = *(*store)->create_sequence();
        for (int n : {1, 62, 2, 70}) {
          const std::vector<float> rows(int64_t{n} * 2 * std::max(dk, dv), 1.5f);
          GuardedCopies copies(GetParam());
          const float* k = copies.copy(rows.data(), int64_t{n} * 2 * dk);
          const float* v = copies.copy(rows.data(), int64_t{n} * 2 * dv);
          ASSERT_TRUE((*store)->begin_append(seq, n).is_ok());
          (*store)->append(seq, 0, View<const float, 3>::contiguous(k, {n, 2, dk}),
                           View<const float, 3>::contiguous(v, {n, 2, dv}), 0, 1);
          (*store)->commit(seq);
        }
        ASSERT_EQ((*store)->length(seq), 135);
        ASSERT_TRUE((*store)->check().is_ok()) << (*store)->check().message();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sides, GuardPages,
                         ::testing::Values(GuardSide::kBefore, GuardSide::kBehind),
                         [](const auto& info) { return side_name(info.param); });

// The guards work: without this the test above could not fail.
TEST(GuardPagesDeathTest, a_touched_guard_faults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        GuardMemory memory(10 * sizeof(float), GuardSide::kBehind);
        static_cast<volatile float*>(memory.floats())[10] = 1;
      },
      "");
  EXPECT_DEATH(
      {
        GuardMemory memory(10 * sizeof(float), GuardSide::kBefore);
        static_cast<volatile float*>(memory.floats())[-1] = 1;
      },
      "");
}

}  // namespace
}  // namespace heed::test
