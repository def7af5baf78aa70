// Plans compiled from random key sets read exactly those keys, once each, whatever the chunk that
// a block is cut by; what is counted from a plan is what its run counts.
#include "select/compile.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "attention/reference.h"
#include "attention_compare.h"
#include "isa_list.h"
#include "select/layout.h"

namespace heed::test {
namespace {

using select::KeyRange;
using select::KeySet;

// Key sets by (set, absolute block), made once for a whole prompt.
struct Sets {
  std::map<std::pair<int, int64_t>, std::pair<std::vector<KeyRange>, std::vector<int32_t>>> keys;
  int64_t band = 0;

  const auto& of(int set, int64_t first, int slots, uint64_t seed) {
    auto [at, made] = keys.try_emplace({set, first});
    if (!made) return at->second;
    Random random(seed * 1000 + static_cast<uint64_t>(set) * 77 + static_cast<uint64_t>(first));
    auto& [ranges, columns] = at->second;
    for (int slot = static_cast<int>(random.below(100)); slot < slots;) {
      const auto len = 1 + static_cast<int>(random.below(random.below(3) == 0 ? 200 : 20));
      ranges.push_back({slot, len});
      slot += len + static_cast<int>(random.below(150));
    }
    const uint64_t one_in = 1 + random.below(40);
    for (int slot = 0; slot < slots; ++slot) {
      if (random.below(one_in) == 0) columns.push_back(slot);
    }
    return at->second;
  }
};

struct Shape {
  AttentionCase attention;
  int block = 64;
  bool group_shared = true;
  int64_t band = 0;
};

Shape random_shape(uint64_t seed, Isa isa) {
  Random random(seed);
  Shape s;
  AttentionCase& c = s.attention;
  c.isa = isa;
  c.seed = seed;
  c.kv_heads = 1 + static_cast<int>(random.below(2));
  c.heads = c.kv_heads * (1 + static_cast<int>(random.below(3)));
  c.dk = c.dv = 16;
  const int keys = 1 + static_cast<int>(random.below(500));
  c.seqs = {{1 + static_cast<int>(random.below(keys)), keys}};
  if (random.below(3) == 0) c.mask = MaskKind::kWindow, c.window = 1 + random.below(200);
  if (random.below(4) == 0) c.mask = MaskKind::kNone;
  c.live = random.below(4) == 0;
  c.ragged = random.below(4) == 0;
  c.gaps = !c.ragged && random.below(4) == 0;
  s.block = std::array{16, 64, 128, 100}[random.below(4)];
  s.group_shared = random.below(2) == 0;
  if (c.mask != MaskKind::kNone && random.below(2) == 0)
    s.band = 1 + static_cast<int64_t>(random.below(300));
  return s;
}

// Compiles the whole call into problem.plan().
void compile_all(AttentionProblem& problem, const Shape& s, Sets& sets, int64_t cut) {
  const int slots = s.attention.seqs[0].keys;
  const select::Cut how{s.block, cut, s.group_shared, {200, 600, s.band > 0}};
  select::PlanLayout layout;
  const Status laid = layout.lay_out(problem.call(), how, slots);
  ASSERT_TRUE(laid.is_ok()) << laid.message();
  select::KeySetTable table;
  const auto blocks = static_cast<int>(layout.blocks().size());
  ASSERT_TRUE(table.reserve(layout.sets(), blocks, how.bound).is_ok());
  table.shape(layout.sets(), blocks);
  for (int set = 0; set < layout.sets(); ++set) {
    for (int b = 0; b < blocks; ++b) {
      const auto& [ranges, columns] =
          sets.of(set, layout.blocks()[static_cast<size_t>(b)].first, slots, s.attention.seed);
      select::KeySetWriter writer = table.writer(set, b);
      for (const KeyRange& range : ranges) ASSERT_TRUE(writer.add(range));
      for (const int32_t slot : columns) ASSERT_TRUE(writer.add_column(slot));
      ASSERT_TRUE(s.band == 0 || writer.set_band(s.band));
    }
  }
  for (size_t u = 0; u < layout.units().size(); ++u) {
    ASSERT_TRUE(layout.compile(u, table, problem.call()));
  }
  problem.plan() = layout.plan();
}

bool wanted(const KeySet& keys, int64_t query, int64_t key, int32_t slot) {
  for (const KeyRange& range : keys.ranges) {
    if (slot >= range.begin && slot < range.end()) return true;
  }
  for (const int32_t column : keys.columns) {
    if (column == slot) return true;
  }
  return key > query - keys.band && key <= query;
}

// Rows at consecutive positions, also against lists with gaps.
class Problem : public AttentionProblem {
 public:
  explicit Problem(const AttentionCase& c) : AttentionProblem(c) {
    seqs()[0].pos = nullptr;
    if (c.plan == PlanKind::kDense) {
      plan().clear();
      EXPECT_TRUE(plan_dense(call(), plan()).is_ok());
    }
  }
};

TEST(Compile, a_row_reads_the_keys_of_its_set_that_it_sees_once_each) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Shape s = random_shape(seed, tested_isas().front());
    Problem problem(s.attention);
    const Call& call = problem.call();
    Sets sets;
    compile_all(problem, s, sets, select::kNoCut);
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed;
    const auto reads = plan_reads(problem.plan(), call);
    select::PlanCounts per_pair;
    for (int t = 0; t < call.seqs[0].rows; ++t) {
      for (int h = 0; h < call.heads.n_q; ++h) {
        const int g = call.heads.kv_of(h);
        const ListView& list = call.seqs[0].lists[g];
        const int64_t query = call.seqs[0].pos0 + t;
        const auto& [ranges, columns] =
            sets.of(s.group_shared ? g : h,
                    select::whole_block(query, s.block, select::kNoCut).first, 0, 0);
        const KeySet keys{ranges, columns, s.band};
        std::multiset<int32_t> got, want;
        const auto seen = [&](int32_t slot) {
          const int64_t key = list.pos ? list.pos[slot] : list.pos0 + slot;
          const bool live = !list.live || (list.live[slot / 64] >> (slot % 64) & 1);
          return live && reference::sees(call, query, key);
        };
        for (const reference::Read& read : reads(0, t, h)) {
          if (seen(read.slot)) got.insert(read.slot);
        }
        for (int32_t slot = 0; slot < list.len; ++slot) {
          const int64_t key = list.pos ? list.pos[slot] : list.pos0 + slot;
          if (seen(slot) && wanted(keys, query, key, slot)) want.insert(slot);
        }
        ASSERT_EQ(got, want) << "seed " << seed << " row " << t << " head " << h;
        per_pair.pairs += want.size();
      }
    }
    select::PlanCounts counted;
    for (const Item& item : problem.plan().items) {
      const select::PlanCounts one = select::count_item(problem.plan(), call, item);
      for (int i = std::popcount(item.head_mask); i > 0; --i) counted.add(one);
    }
    EXPECT_EQ(counted.pairs, per_pair.pairs) << "seed " << seed;
    problem.run(1);
    EXPECT_EQ(counted.tiles, problem.last_counters().tiles) << "seed " << seed;
  }
}

TEST(Compile, attention_over_a_compiled_plan_equals_the_reference) {
  for (Isa isa : tested_isas()) {
    for (uint64_t seed = 200; seed < 220; ++seed) {
      const Shape s = random_shape(seed, isa);
      Problem problem(s.attention);
      Sets sets;
      compile_all(problem, s, sets, select::kNoCut);
      const Comparison c = compare(problem, problem.run(2));
      EXPECT_EQ(c.failures, 0) << "seed " << seed << ": " << c.first_failure;
    }
  }
}

// A set that is everything compiles to the bits of the dense plan, and counts what is visible.
TEST(Compile, everything_equals_dense_bit_for_bit) {
  for (Isa isa : tested_isas()) {
    for (uint64_t seed = 300; seed < 330; ++seed) {
      Shape s = random_shape(seed, isa);
      s.band = seed % 3 == 0 ? 1 << 20 : 0;
      Problem problem(s.attention);
      const Output dense = problem.run(2);
      const uint64_t tiles = problem.last_counters().tiles;
      const Call& call = problem.call();
      select::PlanLayout layout;
      select::KeySetTable table;
      const select::Cut how{s.block, select::kNoCut, s.group_shared, {1, 0, true}};
      ASSERT_TRUE(layout.lay_out(call, how, s.attention.seqs[0].keys).is_ok());
      const auto blocks = static_cast<int>(layout.blocks().size());
      ASSERT_TRUE(table.reserve(layout.sets(), blocks, how.bound).is_ok());
      table.shape(layout.sets(), blocks);
      for (size_t u = 0; u < layout.units().size(); ++u) {
        const select::Unit& unit = layout.units()[u];
        select::KeySetWriter writer = table.writer(unit.set, unit.set_block);
        if (s.band > 0 && call.mask != MaskKind::kNone) {
          ASSERT_TRUE(writer.set_band(s.band));
        } else if (s.attention.seqs[0].keys > 0) {
          ASSERT_TRUE(writer.add({0, s.attention.seqs[0].keys}));
        }
        ASSERT_TRUE(layout.compile(u, table, call));
      }
      problem.plan() = layout.plan();
      const Output all = problem.run(2);
      EXPECT_EQ(all.out, dense.out) << "seed " << seed;
      EXPECT_EQ(all.lse, dense.lse) << "seed " << seed;
      select::PlanCounts counted, visible;
      for (const Item& item : problem.plan().items) {
        const select::PlanCounts one = select::count_item(problem.plan(), call, item);
        for (int i = std::popcount(item.head_mask); i > 0; --i) counted.add(one);
      }
      for (int h = 0; h < call.heads.n_q; ++h) {
        visible.add(
            select::count_visible(call, call.seqs[0], call.heads.kv_of(h), 0, call.seqs[0].rows));
      }
      EXPECT_EQ(counted.pairs, visible.pairs) << "seed " << seed;
      EXPECT_EQ(counted.tiles, visible.tiles) << "seed " << seed;
      EXPECT_EQ(visible.tiles, tiles) << "seed " << seed;
    }
  }
}

TEST(Compile, what_is_no_key_set_or_does_not_fit_is_refused) {
  const AttentionCase c{.heads = 2, .kv_heads = 1, .dk = 16, .dv = 16, .seqs = {{64, 640}}};
  const auto compiles = [&](const KeySet& keys, select::PlanRoom room) {
    Problem problem(c);
    select::PlanLayout layout;
    EXPECT_TRUE(
        layout.lay_out(problem.call(), {64, select::kNoCut, true, {8, 8, true}}, 640).is_ok());
    Plan plan = layout.plan();
    const select::PlanRoom all = layout.room();
    room.ranges = std::min(room.ranges, all.ranges);
    room.gather = std::min(room.gather, all.gather);
    room.pages = std::min(room.pages, all.pages);
    room.edges = std::min(room.edges, all.edges);
    return select::compile(keys, problem.call(), layout.units()[0], room, plan);
  };
  const std::vector<KeyRange> ranges{{0, 100}, {200, 10}, {300, 90}};
  const std::vector<int32_t> columns{150, 160}, falling{160, 150};
  const select::PlanRoom enough{1000, 1000, 1000, 1000};
  EXPECT_TRUE(compiles({ranges, columns, 70}, enough));
  EXPECT_FALSE(compiles({ranges, falling, 70}, enough));
  EXPECT_FALSE(compiles({ranges, columns, 70}, {2, 1000, 1000, 1000}));
  EXPECT_FALSE(compiles({ranges, columns, 70}, {1000, 1, 1000, 1000}));
  EXPECT_FALSE(compiles({ranges, columns, 70}, {1000, 1000, 9, 1000}));
  EXPECT_FALSE(compiles({ranges, columns, 70}, {1000, 1000, 1000, 10}));
  AttentionCase both = c;
  both.mask = MaskKind::kNone;
  AttentionProblem problem(both);
  select::PlanLayout layout;
  ASSERT_TRUE(
      layout.lay_out(problem.call(), {64, select::kNoCut, true, {8, 8, true}}, 640).is_ok());
  Plan plan = layout.plan();
  EXPECT_FALSE(select::compile({ranges, columns, 70}, problem.call(), layout.units()[0],
                               layout.room(), plan));
  const std::vector<KeyRange> negative{{-5, 10}};
  EXPECT_FALSE(compiles({negative, {}, 0}, enough));
}

TEST(Compile, layouts_take_no_more_than_was_said) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Shape s = random_shape(seed, Isa::kScalar);
    if (s.attention.gaps) continue;
    Problem problem(s.attention);
    const Call& call = problem.call();
    const select::Cut how{s.block, select::kNoCut, s.group_shared, {20, 30, s.band > 0}};
    select::PlanLayout layout;
    ASSERT_TRUE(layout.lay_out(call, how, s.attention.seqs[0].keys).is_ok());
    const Plan& plan = layout.plan();
    const auto said = select::PlanLayout::bytes_of(
        call.heads, call.dk, call.dv, s.attention.seqs[0].rows, s.attention.seqs[0].keys, how);
    ASSERT_TRUE(said.is_ok());
    EXPECT_GE(*said, plan.items.size() * sizeof(Item) + plan.ranges.size() * sizeof(Range) +
                         plan.gather.size() * sizeof(int32_t) +
                         plan.tile_masks.size() * sizeof(uint64_t));
  }
}

}  // namespace
}  // namespace heed::test
