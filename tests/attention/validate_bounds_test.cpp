// Numbers that no call may contain are refused with a message: validate never throws.
#include <gtest/gtest.h>

#include <limits>

#include "attention_problem.h"

namespace heed::test {
namespace {

void expect_refused(const Call& call, const Plan& plan, const char* part) {
  const Status status = validate(plan, call);
  EXPECT_FALSE(status.is_ok()) << part;
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(ValidateBounds, rows_positions_and_page_handles_out_of_range_are_refused) {
  const AttentionCase c{.heads = 4, .kv_heads = 2, .dk = 32, .dv = 32, .seqs = {{20, 120}}};
  for (int64_t rows : {int64_t{-1}, int64_t{1} << 40}) {
    AttentionProblem problem(c);
    Call& call = problem.call();
    call.q.shape[0] = call.out.shape[0] = call.lse.shape[0] = rows;
    call.seqs = {};
    expect_refused(call, {}, "query rows");
  }
  AttentionProblem problem(c);
  Call& call = problem.call();
  std::vector<ListView> lists(call.seqs[0].lists, call.seqs[0].lists + 2);
  SeqRows seq = call.seqs[0];
  seq.lists = lists.data();
  call.seqs = {&seq, 1};
  for (int64_t* pos0 : {&seq.pos0, &lists[1].pos0}) {
    const int64_t good = *pos0;
    for (int64_t bad : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
      *pos0 = bad;
      expect_refused(call, {}, "first position");
    }
    *pos0 = good;
  }
  std::vector<PageId> pages(lists[1].pages, lists[1].pages + 2);
  lists[1].pages = pages.data();
  EXPECT_TRUE(validate({}, call).is_ok());
  for (PageId wrong : {kNoPage, PageId{1} << 26, PageId{1} << 20, PageId{4}}) {
    pages[1] = wrong;  // no class, no such class, no such arena, never taken
    expect_refused(call, {}, "no page of the store's layer 0");
  }
}

}  // namespace
}  // namespace heed::test
