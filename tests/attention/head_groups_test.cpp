// Scratch reserved from bounds covers head maps of any shape: all heads on one of several KV heads.
#include <gtest/gtest.h>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

TEST(HeadGroups, bounds_with_a_head_map_cover_an_uneven_one) {
  const uint16_t map[8] = {};  // all on KV head 0 of 4
  DenseSpec spec{.n_q = 8, .n_kv = 4, .dk = 64, .dv = 64};
  DenseCase c(spec, Isa::kScalar);
  c.call.heads.kv_of_q = map;
  Plan plan;
  EXPECT_TRUE(plan_dense(c.call, plan).is_ok());
  Workspace even(Isa::kScalar, 1), mapped(Isa::kScalar, 1);
  ASSERT_TRUE(even.reserve(1, 8, 4, 64, 64, 120).is_ok());
  ASSERT_TRUE(mapped.reserve(20, c.call.heads, 64, 64, 120).is_ok());
  EXPECT_TRUE(validate(plan, c.call, mapped).is_ok());
  const Status refused = validate(plan, c.call, even);
  EXPECT_FALSE(refused.is_ok());
  EXPECT_NE(refused.message().find("stacked rows"), std::string::npos) << refused.message();
}

}  // namespace
}  // namespace heed::test
