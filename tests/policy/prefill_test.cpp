// From a policy to the selectors of its layers.
#include "policy/prefill.h"

#include <gtest/gtest.h>

#include "policy_rows.h"

namespace heed::test {
namespace {

TEST(make_prefill_policy, every_layer_has_what_the_policy_says) {
  ModelShape model;
  for (const int window : {0, 512, 0, 0}) model.layers.push_back({8, 2, window});
  const auto policy = Policy::parse("prefill=a_shape:64;prefill@L2=dense;prefill@L3=tri_shape");
  ASSERT_TRUE(policy.is_ok()) << policy.message();
  const auto made = make_prefill_policy(*policy, model);
  ASSERT_TRUE(made.is_ok()) << made.message();
  ASSERT_NE(made->of(0), nullptr);
  EXPECT_STREQ(made->of(0)->name(), "a_shape");
  EXPECT_EQ(made->of(0), made->of(1));  // one object
  EXPECT_EQ(made->of(2), nullptr);
  EXPECT_STREQ(made->of(3)->name(), "tri_shape");
}

TEST(make_prefill_policy, policies_that_select_otherwise_have_another_text) {
  const ModelShape model{{{8, 2, 0}}, true};
  const auto text = [&](const char* of) {
    return make_prefill_policy(*Policy::parse(of), model)->text();
  };
  EXPECT_EQ(text("prefill=a_shape"), text("prefill=a_shape:n_local=3968"));
  EXPECT_NE(text("prefill=a_shape"), text("prefill=a_shape:n_local=3969"));
  EXPECT_NE(text("prefill=a_shape"), text(""));
}

// What a row says and what its selector says of itself are one thing.
TEST(registry, rows_and_selectors_agree) {
  for (const Mechanism* m : mechanisms()) {
    const Row& row = registry().row_of(*m);
    const bool needs_file = std::ranges::any_of(m->parameters, [](const Parameter& p) {
      return p.type == ParameterType::kFile && !p.optional;
    });
    if (row.make_prefill == nullptr || needs_file) continue;
    const auto made = row.make_prefill(default_setting(*m));
    ASSERT_TRUE(made.is_ok()) << made.message();
    const PrefillSelector& selector = **made;
    EXPECT_EQ(selector.name(), m->name);
    EXPECT_EQ(selector.invariance(), m->invariance) << m->name;
    EXPECT_EQ(selector.takes_windows(), (m->capabilities & kWindowed) != 0) << m->name;
    EXPECT_EQ(selector.group_shared(), (m->capabilities & kGroupShared) != 0) << m->name;
    if (m->row_block > 0) {
      EXPECT_EQ(selector.block(), m->row_block) << m->name;
    }
  }
}

}  // namespace
}  // namespace heed::test
