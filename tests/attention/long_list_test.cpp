// The end of the longest list there may be: slot numbers next to 2^31 do not overflow.
#include <gtest/gtest.h>

#include <limits>

#include "attention/visible.h"
#include "attention_problem.h"
#include "isa_list.h"

namespace heed::test {
namespace {

TEST(LongList, the_last_window_of_2_to_the_31_slots_equals_the_same_window_of_a_short_list) {
  constexpr int32_t kLongest = std::numeric_limits<int32_t>::max();
  for (Isa isa : tested_isas()) {
    AttentionProblem problem({.isa = isa,
                              .heads = 2,
                              .kv_heads = 1,
                              .dk = 16,
                              .dv = 16,
                              .seqs = {{3, 128}},  // two full pages
                              .mask = MaskKind::kWindow,
                              .window = 70,
                              .alibi = true});
    Call& call = problem.call();
    ListView list = call.seqs[0].lists[0];
    SeqRows seq = call.seqs[0];
    seq.lists = &list;
    call.seqs = {&seq, 1};
    const auto run_dense = [&] {
      problem.plan().clear();
      EXPECT_TRUE(plan_dense(call, problem.plan()).is_ok());
      return problem.run(1).out;
    };
    // One slot short of two pages, as the longest list is one short of 2^25.
    list.len = 127;
    seq.pos0 = 124;
    const std::vector<float> want = run_dense();

    std::vector<PageId> pages(size_t{1} << 25, list.pages[0]);
    pages.back() = list.pages[1];
    list.pages = pages.data();
    list.len = kLongest;
    seq.pos0 = kLongest - 3;
    EXPECT_EQ(run_dense(), want) << isa_name(isa);
  }
}

}  // namespace
}  // namespace heed::test
