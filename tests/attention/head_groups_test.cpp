// Groups of any size and head maps of any shape: more than 64 query heads on a KV head, all heads
// on one of several KV heads, scratch reserved from bounds for both.
#include <gtest/gtest.h>

#include "dense_case.h"
#include "isa_list.h"

namespace heed::test {
namespace {

TEST(HeadGroups, of_64_and_more_heads_match_the_reference) {
  for (Isa isa : tested_isas()) {
    for (int heads : {64, 65, 130}) {
      DenseSpec spec{.n_q = heads, .n_kv = 1, .dk = 16, .dv = 16};
      spec.rows = 2;
      DenseCase c(spec, isa);
      const ReferenceResult want = c.reference();
      EXPECT_LE(worst_row_error(c.run_dense(), want.out, spec.dv), 2e-5)
          << isa_name(isa) << ", " << heads << " heads";
    }
  }
}

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
