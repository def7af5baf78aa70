// Scratch reserved from bounds covers head maps of any shape: all heads on one of several KV heads.
#include <gtest/gtest.h>

#include "attention_problem.h"

namespace heed::test {
namespace {

TEST(HeadGroups, bounds_with_a_head_map_cover_an_uneven_one) {
  const uint16_t map[8] = {};  // all on KV head 0 of 4
  AttentionProblem problem({.heads = 8, .kv_heads = 4, .seqs = {{20, 120}}});
  Call& call = problem.call();
  call.heads.kv_of_q = map;
  Plan plan;
  EXPECT_TRUE(plan_dense(call, plan).is_ok());
  Workspace even(Isa::kScalar, 1), mapped(Isa::kScalar, 1);
  ASSERT_TRUE(even.reserve(1, 8, 4, 64, 64, 120).is_ok());
  ASSERT_TRUE(mapped.reserve(20, call.heads, 64, 64, 120).is_ok());
  EXPECT_TRUE(validate(plan, call, mapped).is_ok());
  const Status refused = validate(plan, call, even);
  EXPECT_FALSE(refused.is_ok());
  EXPECT_NE(refused.message().find("stacked rows"), std::string::npos) << refused.message();
}

}  // namespace
}  // namespace heed::test
