// What the framework promises a selector, and what becomes of one that fails.
#include "mechanisms/selection.h"

#include <gtest/gtest.h>

#include <cstring>

#include "attention/rotation.h"
#include "base/text.h"
#include "isa_list.h"
#include "mechanisms/prefill_policy.h"
#include "prefill_problem.h"

namespace heed::test {
namespace {

// For each query head and block the key whose score with the block's first row is largest (the
// lowest of equals), as a column, and the diagonal. Three phases: scores into shared scratch by
// way of each thread's own, the largest of each set, the key sets.
class Best final : public PrefillSelector {
 public:
  const char* name() const override { return "best"; }
  uint32_t needs() const override { return kNeedsQueries; }
  int block() const override { return 32; }
  bool group_shared() const override { return false; }
  Invariance invariance() const override { return Invariance::kRowBlockAligned; }
  SelectBound bound(const SelectShape& shape) const override {
    const int sets = shape.heads.n_q * select::most_blocks(shape.rows, block());
    return {.set = {.ranges = 0, .columns = 1, .bands = true},
            .shared_bytes = static_cast<size_t>(sets) * sizeof(int32_t),
            .thread_bytes = static_cast<size_t>(shape.slots) * sizeof(float)};
  }
  int phases() const override { return 2; }
  int64_t count(int, const SelectInput& in) const override {
    return in.heads.n_q * static_cast<int64_t>(in.blocks.size());
  }
  bool run(int phase, int64_t item, const SelectInput& in, const SelectScratch& scratch,
           select::KeySetTable& out) const override {
    if (phase == fail_phase && item == fail_item) return false;
    const auto blocks = static_cast<int64_t>(in.blocks.size());
    const auto head = static_cast<int>(item / blocks), block = static_cast<int>(item % blocks);
    const int32_t row = in.blocks[static_cast<size_t>(block)].row;
    auto* best = reinterpret_cast<int32_t*>(scratch.shared);
    if (phase == 0) {
      auto* scores = reinterpret_cast<float*>(scratch.own);
      const ListView& list = in.lists[in.heads.kv_of(head)];
      int32_t at = 0;
      for (int32_t slot = 0; slot <= in.pos0 + row; ++slot) {
        const auto* page = static_cast<const float*>(in.store->k_page(list.pages[slot / 64]));
        scores[slot] = 0;
        for (int i = 0; i < in.dk; ++i) {  // fp32 pages: [dk][64]
          scores[slot] += in.q(row, head, i) * page[i * kPageTokens + slot % kPageTokens];
        }
        if (scores[slot] > scores[at]) at = slot;
      }
      best[item] = at;
      return true;
    }
    select::KeySetWriter keys = out.writer(head, block);
    return keys.add_column(best[item]) && keys.set_band(overflow ? -1 : 32);
  }

  int fail_phase = -1;
  int64_t fail_item = -1;
  bool overflow = false;
};

TEST(Selection, phases_see_what_the_ones_before_left_whatever_the_threads) {
  for (Isa isa : tested_isas()) {
    PrefillProblem problem({.isa = isa, .heads = 4, .kv_heads = 2, .rows = 330, .seed = 3});
    const Best best;
    const PrefillOutput one = problem.run(&best, {1 << 20}, 1);
    for (int threads : {2, 3}) {
      EXPECT_EQ(problem.run(&best, {1 << 20}, threads).out, one.out);
      EXPECT_EQ(problem.run(&best, {64, 32, 96}, threads).out, one.out);
    }
    EXPECT_EQ(one.tiles, one.said_tiles);
    EXPECT_LT(one.tiles, one.visible.tiles);
  }
}

TEST(Selection, one_failed_item_fails_the_run_for_every_member_and_the_next_run_is_whole) {
  StoreDesc desc;
  desc.layers = {{2, 32, 32, Format::kF32, Format::kF32}};
  auto store = *Store::create(desc);
  const SeqId seq = *store->create_sequence();
  ASSERT_TRUE(store->begin_append(seq, 100).is_ok());
  store->commit(seq);
  std::vector<float> q(100 * 4 * 32, 1.0f);
  SeqRows rows;
  rows.rows = 100;
  rows.lists = store->lists(seq, 0);
  Call call;
  call.store = store.get();
  call.heads = {4, 2, nullptr};
  call.dk = call.dv = 32;
  call.seqs = {&rows, 1};
  call.q = View<const float, 3>::contiguous(q.data(), {100, 4, 32});
  Best best;
  Selection selection(best);
  cpu::Team team(3);
  const auto run = [&](int layer) {
    std::atomic<int> done{0};
    EXPECT_TRUE(selection.prepare(call, {0, 100}, 100, 3).is_ok());
    team.run([&](int member, int members) {
      done += selection.run(call, layer, Isa::kScalar, member, members);
    });
    EXPECT_TRUE(done == 0 || done == 3) << done;
    return done == 3;
  };
  EXPECT_TRUE(run(0));
  EXPECT_TRUE(selection.failure().is_ok());
  for (int phase : {0, 1}) {
    best.fail_phase = phase;
    best.fail_item = 7;
    EXPECT_FALSE(run(5));
    const std::string message = selection.failure().message();
    EXPECT_EQ(message, cat("best: layer 5, phase ", phase, ", item 7 failed"));
  }
  best.fail_phase = -1;
  best.overflow = true;
  EXPECT_FALSE(run(1)) << "a band below 0";
  best.overflow = false;
  EXPECT_TRUE(run(0));
  SeqRows two[] = {rows, rows};
  call.seqs = {two, 2};
  EXPECT_FALSE(selection.prepare(call, {0, 100}, 100, 3).is_ok());
}

// Writes what a fixed band reads and checks that q was turned as attention turns it.
class TurnedQueries final : public PrefillSelector {
 public:
  explicit TurnedQueries(const std::vector<float>& want) : want_(want) {}
  const char* name() const override { return "turned"; }
  uint32_t needs() const override { return kNeedsQueries; }
  int block() const override { return 64; }
  bool group_shared() const override { return true; }
  Invariance invariance() const override { return Invariance::kExact; }
  SelectBound bound(const SelectShape&) const override { return {}; }
  int64_t count(int, const SelectInput& in) const override { return in.rows; }
  bool run(int, int64_t row, const SelectInput& in, const SelectScratch&,
           select::KeySetTable&) const override {
    const int64_t n = in.q.shape[1] * in.q.shape[2];
    return std::memcmp(&in.q(row, 0, 0), want_.data() + row * n,
                       static_cast<size_t>(n) * sizeof(float)) == 0;
  }

 private:
  const std::vector<float>& want_;
};

TEST(Selection, queries_that_a_selector_asks_for_are_rotated) {
  for (Isa isa : tested_isas()) {
    constexpr int kRows = 37, kHeads = 3, kD = 16;
    std::vector<float> q(kRows * kHeads * kD), turned(q.size());
    for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(random_normal(1, i));
    std::vector<double> frequencies = *rotary_frequencies({RotaryLayout::kHalves, kD});
    std::vector<int64_t> positions(kRows);
    std::iota(positions.begin(), positions.end(), 100);
    std::vector<float> cos(kRows * kD / 2), sin(cos.size());
    rotary_table(frequencies, positions, cos.data(), sin.data());
    StoreDesc desc;
    desc.layers = {{1, kD, kD, Format::kF32, Format::kF32}};
    auto store = *Store::create(desc);
    const SeqId seq = *store->create_sequence();
    SeqRows rows;
    rows.rows = kRows;
    rows.lists = store->lists(seq, 0);
    Call call;
    call.store = store.get();
    call.heads = {kHeads, 1, nullptr};
    call.dk = call.dv = kD;
    call.seqs = {&rows, 1};
    call.rotary = {RotaryLayout::kHalves, kD, cos.data(), sin.data()};
    call.q = View<const float, 3>::contiguous(q.data(), {kRows, kHeads, kD});
    rotate_rows(isa, call.rotary, call.q, View<float, 3>::contiguous(turned.data(), call.q.shape));
    const TurnedQueries selector(turned);
    Selection selection(selector);
    ASSERT_TRUE(selection.prepare(call, {0, kRows}, 64, 2).is_ok());
    cpu::Team team(2);
    team.run([&](int member, int members) {
      EXPECT_TRUE(selection.run(call, 0, isa, member, members));
    });
    turned[100] += 1;
    team.run([&](int member, int members) {
      EXPECT_FALSE(selection.run(call, 0, isa, member, members));
    });
  }
}

TEST(PrefillPolicy, a_layer_of_its_own_comes_before_the_rest) {
  const auto all = std::make_shared<Best>(), one = std::make_shared<Best>();
  PrefillPolicy policy("best", all);
  policy.override_layer(2, one);
  policy.override_layer(0, nullptr);
  EXPECT_EQ(policy.of(0), nullptr);
  EXPECT_EQ(policy.of(1), all.get());
  EXPECT_EQ(policy.of(2), one.get());
  EXPECT_EQ(policy.of(9), all.get());
}

}  // namespace
}  // namespace heed::test
