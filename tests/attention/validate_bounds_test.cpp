// Numbers that no call may contain are refused with a message: validate never throws.
#include <gtest/gtest.h>

#include <limits>

#include "dense_case.h"

namespace heed::test {
namespace {

void expect_refused(const DenseCase& c, const Plan& plan, const char* part) {
  const Status status = validate(plan, c.call);
  EXPECT_FALSE(status.is_ok()) << part;
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(ValidateBounds, rows_positions_and_page_handles_out_of_range_are_refused) {
  const DenseSpec spec{.n_q = 4, .n_kv = 2, .dk = 32, .dv = 32};
  for (int64_t rows : {int64_t{-1}, int64_t{1} << 40}) {
    DenseCase c(spec, Isa::kScalar);
    c.call.q.shape[0] = c.call.out.shape[0] = c.call.lse.shape[0] = rows;
    c.call.seqs = {};
    expect_refused(c, {}, "query rows");
  }
  DenseCase c(spec, Isa::kScalar);
  std::vector<ListView> lists(c.call.seqs[0].lists, c.call.seqs[0].lists + 2);
  SeqRows seq = c.call.seqs[0];
  seq.lists = lists.data();
  c.call.seqs = {&seq, 1};
  for (int64_t* pos0 : {&seq.pos0, &lists[1].pos0}) {
    const int64_t good = *pos0;
    for (int64_t bad : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
      *pos0 = bad;
      expect_refused(c, {}, "first position");
    }
    *pos0 = good;
  }
  std::vector<PageId> pages(lists[1].pages, lists[1].pages + 2);
  lists[1].pages = pages.data();
  EXPECT_TRUE(validate({}, c.call).is_ok());
  for (PageId wrong : {kNoPage, PageId{1} << 26, PageId{1} << 20, PageId{4}}) {
    pages[1] = wrong;  // no class, no such class, no such arena, never taken
    expect_refused(c, {}, "no page of the store's layer 0");
  }
}

}  // namespace
}  // namespace heed::test
