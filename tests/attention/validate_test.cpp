// validate names what is wrong with a plan or a call, and accepts what the planner makes.
#include <gtest/gtest.h>

#include <functional>

#include "attention_problem.h"

namespace heed::test {
namespace {

struct Fault {
  const char* name;
  const char* message;  // a part of what validate must say
  std::function<void(Plan&, Call&)> make;
};

const Fault kFaults[] = {
    {"no store", "no store", [](Plan&, Call& c) { c.store = nullptr; }},
    {"layer", "layer 1 of 1", [](Plan&, Call& c) { c.layer = 1; }},
    {"head size", "head sizes 16/32", [](Plan&, Call& c) { c.dk = 16; }},
    {"KV heads", "3 KV heads", [](Plan&, Call& c) { c.heads.n_kv = 3; }},
    {"group", "do not divide", [](Plan&, Call& c) { c.heads.n_q = 5; }},
    {"scale", "scale", [](Plan&, Call& c) { c.scale = NAN; }},
    {"soft cap", "soft cap", [](Plan&, Call& c) { c.softcap = -1; }},
    {"window", "window of 0", [](Plan&, Call& c) { c.mask = MaskKind::kWindow; }},
    {"rotated dims", "34 rotated dims",
     [](Plan&, Call& c) {
       c.rotary = {RotaryLayout::kHalves, 34, c.q.data, c.q.data};
     }},
    {"rotated dims' first", "16 rotated dims from dim 18 of 32",
     [](Plan&, Call& c) {
       c.rotary = {RotaryLayout::kHalves, 16, c.q.data, c.q.data, 18};
     }},
    {"rotation table", "without its cos",
     [](Plan&, Call& c) {
       c.rotary = {RotaryLayout::kHalves, 16, nullptr, nullptr};
     }},
    {"q shape", "q has size", [](Plan&, Call& c) { c.q.shape[1] = 3; }},
    {"q stride", "last stride", [](Plan&, Call& c) { c.q.stride[2] = 2; }},
    {"out", "out is missing", [](Plan&, Call& c) { c.out.data = nullptr; }},
    {"lse shape", "lse has size", [](Plan&, Call& c) { c.lse.shape[0] = 1; }},
    {"parts", "part_out is missing", [](Plan&, Call& c) { c.tags = 2; }},
    {"tags", "0 tags", [](Plan&, Call& c) { c.tags = 0; }},
    {"item sequence", "sequence 1 of 1", [](Plan& p, Call&) { p.items[0].seq = 1; }},
    {"item KV head", "KV head 2 of 2", [](Plan& p, Call&) { p.items[0].kv_head = 2; }},
    {"head mask", "head mask 4", [](Plan& p, Call&) { p.items[0].head_mask = 4; }},
    {"empty head mask", "head mask 0", [](Plan& p, Call&) { p.items[0].head_mask = 0; }},
    {"item rows", "query rows", [](Plan& p, Call&) { p.items[0].rows = 100; }},
    {"item ranges", "ranges [", [](Plan& p, Call&) { p.items[0].ranges = 100; }},
    {"pages", "pages [", [](Plan& p, Call&) { p.ranges[0].len = 1000; }},
    {"negative page", "pages [-1", [](Plan& p, Call&) { p.ranges[0].begin = -1; }},
    {"source", "source 2", [](Plan& p, Call&) { p.ranges[0].source = 2; }},
    {"tag", "tag 1 of 1", [](Plan& p, Call&) { p.ranges[0].tag = 1; }},
    {"rotation delta", "rotation delta 3", [](Plan& p, Call&) { p.ranges[0].rot = 3; }},
    {"tile masks", "tile masks [", [](Plan& p, Call&) { p.ranges[0].tile_mask = 0; }},
    {"one mask row", "tile masks [0, 3) of 2",
     [](Plan& p, Call&) {
       p.tile_masks = {0, 0};
       p.ranges[0].tile_mask = 0;
       p.ranges[0].one_mask = true;
     }},
    {"gather entries", "gather entries [", [](Plan& p, Call&) { p.ranges[0].source = 1; }},
    {"gathered slot", "gathered slot 100000 of",
     [](Plan& p, Call&) {
       p.gather = {100000};
       p.ranges[0] = {.begin = 0, .len = 1, .source = 1};
     }},
    {"gather order", "must ascend",
     [](Plan& p, Call&) {
       p.gather = {5, 5};
       p.ranges[0] = {.begin = 0, .len = 2, .source = 1};
     }},
    {"two items for a row", "belongs to an item before",
     [](Plan& p, Call&) { p.items.push_back(p.items[0]); }},
};

TEST(Validate, accepts_the_dense_plan_and_names_every_fault) {
  for (const Fault& fault : kFaults) {
    AttentionProblem problem({.heads = 4, .kv_heads = 2, .dk = 32, .dv = 32, .seqs = {{30, 130}}});
    ASSERT_TRUE(validate(problem.plan(), problem.call()).is_ok());
    fault.make(problem.plan(), problem.call());
    const Status status = validate(problem.plan(), problem.call());
    EXPECT_FALSE(status.is_ok()) << fault.name;
    EXPECT_NE(status.message().find(fault.message), std::string::npos)
        << fault.name << ": " << status.message();
  }
}

TEST(Validate, tags_of_an_item_are_sorted) {
  AttentionProblem problem(
      {.heads = 4, .kv_heads = 2, .dk = 32, .dv = 32, .seqs = {{1, 101}}, .tags = 2});
  Plan plan;
  plan.ranges = {{.begin = 0, .len = 1, .tag = 1}, {.begin = 1, .len = 1, .tag = 0}};
  plan.items = {{.head_mask = 3, .rows = 1, .range = 0, .ranges = 2}};
  EXPECT_NE(validate(plan, problem.call()).message().find("sorted by tag"), std::string::npos);
  std::swap(plan.ranges[0], plan.ranges[1]);
  EXPECT_TRUE(validate(plan, problem.call()).is_ok());
}

TEST(Workspace, reserve_refuses_bounds_that_make_no_sense) {
  Workspace workspace(Isa::kScalar, 2);
  EXPECT_FALSE(workspace.reserve(0, 1, 1, 64, 64, 100).is_ok());
  EXPECT_FALSE(workspace.reserve(1, 3, 2, 64, 64, 100).is_ok());
  EXPECT_FALSE(workspace.reserve(1, 1, 1, 64, 600, 100).is_ok());
  EXPECT_TRUE(workspace.reserve(512, 9, 3, 64, 64, 16384).is_ok());
  EXPECT_GT(workspace.bytes(), 0u);
}

// A workspace reserved from bounds serves every dense plan inside them, also after larger ones.
TEST(Workspace, reserved_from_bounds_it_runs_plans_of_any_shape_inside) {
  Workspace workspace(Isa::kScalar, 2);
  ASSERT_TRUE(workspace.reserve(33, 6, 2, 64, 64, 3000).is_ok());
  for (int rows : {33, 1, 7, 33, 2}) {
    AttentionProblem problem(
        {.heads = 6, .kv_heads = 2, .dk = 32, .dv = 32, .seqs = {{rows, 2000 + rows}}});
    const Output want = problem.run(1);
    float* const out = problem.call().out.data;
    std::fill_n(out, want.out.size(), -1.0f);
    cpu::Team team(2);
    team.run([&](int member, int members) {
      run(problem.plan(), problem.call(), workspace, member, members);
    });
    EXPECT_EQ(std::vector<float>(out, out + want.out.size()), want.out);
  }
}

}  // namespace
}  // namespace heed::test
