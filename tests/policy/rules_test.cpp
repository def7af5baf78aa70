// Verdicts: each rule speaks where it should, and keeps quiet next to it.
#include "policy/rules.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "policy_rows.h"
#include "temporary_folder.h"

namespace heed::test {
namespace {

// Four layers of 8 query heads on 2 KV heads; layers 1 and 3 see a window.
ModelShape shape() {
  ModelShape model;
  for (const int window : {0, 512, 0, 512}) model.layers.push_back({8, 2, window});
  return model;
}

// The rules that speak, each with the words it uses.
std::vector<Finding> found(std::string_view policy, const ModelShape& model = shape(),
                           const PolicyRun& run = {}) {
  return judge(policy_of(policy), &model, run);
}

bool speaks(const std::vector<Finding>& findings, std::string_view rule) {
  for (const Finding& f : findings) {
    if (f.rule == rule) return true;
  }
  return false;
}

std::string said(const std::vector<Finding>& findings, std::string_view rule) {
  for (const Finding& f : findings) {
    if (f.rule == rule) return f.text;
  }
  return {};
}

TEST(rules, have_names_of_their_own_and_a_line_each) {
  std::set<std::string_view> names;
  for (const Rule& rule : rules()) {
    EXPECT_TRUE(names.insert(rule.name).second);
    EXPECT_NE(std::string_view(rule.about), "");
    EXPECT_NE(rule.verdict, Verdict::kYes);
  }
  EXPECT_LE(rules().size(), 40u);
}

TEST(rules, dense_is_always_a_yes) {
  for (const bool causal : {true, false}) {
    ModelShape model = shape();
    model.causal = causal;
    EXPECT_EQ(worst(found("", model, {100000, 512})), Verdict::kYes);
    EXPECT_EQ(worst(found("prefill=dense;kv=k:f16,v:bf16", model, {10, 512})), Verdict::kYes);
  }
  EXPECT_TRUE(refusal({}).is_ok());
}

TEST(rules, places_exist) {
  for (const char* beyond : {"prefill@L4=tri_shape", "prefill@L0-9=tri_shape", "kv@L4=k:f16",
                             "prefill@L0.H8=xattention", "prefill@L*.KV2=xattention"}) {
    const auto findings = found(beyond);
    EXPECT_TRUE(speaks(findings, "places_exist")) << beyond;
    EXPECT_EQ(worst(findings), Verdict::kRefused);
    EXPECT_EQ(refusal(findings).code(), Code::kUnsupported);
  }
  for (const char* within :
       {"prefill@L3=tri_shape", "prefill@L0.H7=xattention", "prefill@L*.KV1=xattention"}) {
    EXPECT_FALSE(speaks(found(within), "places_exist")) << within;
  }
  EXPECT_EQ(said(found("prefill@L4=tri_shape"), "places_exist"),
            "prefill@L4: the model has layers 0 to 3");
  // Without a model nobody knows.
  EXPECT_FALSE(speaks(judge(policy_of("prefill@L99=tri_shape"), nullptr, {}), "places_exist"));
}

TEST(rules, layers_may_differ) {
  EXPECT_TRUE(speaks(found("kv@L0=k:f16"), "layers_may_differ"));
  EXPECT_FALSE(speaks(found("prefill@L0=a_shape;kv=k:f16"), "layers_may_differ"));
}

TEST(rules, heads_may_differ) {
  EXPECT_TRUE(speaks(found("correct@L*.H1=delta_attention"), "heads_may_differ"));
  EXPECT_TRUE(speaks(found("kv@L*.KV1=k:f16"), "heads_may_differ"));
  EXPECT_TRUE(speaks(found("prefill@L*.H1=xattention"), "heads_may_differ"));
  EXPECT_FALSE(speaks(found("evict@L*.H1=keep"), "heads_may_differ"));
}

TEST(rules, causal_models) {
  ModelShape encoder = shape();
  encoder.causal = false;
  EXPECT_TRUE(speaks(found("prefill=a_shape", encoder), "causal_models"));
  EXPECT_TRUE(speaks(found("correct=delta_attention", encoder), "causal_models"));
  EXPECT_FALSE(speaks(found("prefill=spargeattn", encoder), "causal_models"));
  EXPECT_FALSE(speaks(found("prefill=a_shape"), "causal_models"));
}

TEST(rules, files_are_there) {
  const TemporaryFolder folder;
  std::ofstream(folder / "mask.npy") << "x";
  const std::string name = "prefill=block_sparse_flash:mask=" + (folder / "mask.npy");
  EXPECT_FALSE(speaks(found(name), "files_are_there"));
  EXPECT_TRUE(speaks(found(name + "s"), "files_are_there"));
}

TEST(rules, windows_stay_dense) {
  const auto findings = found("prefill=xattention");
  EXPECT_EQ(said(findings, "windows_stay_dense"),
            "layers 1, 3 have a window, in which xattention does not select: they stay dense");
  EXPECT_EQ(worst(findings), Verdict::kDegraded);
  EXPECT_TRUE(refusal(findings).is_ok());
  EXPECT_FALSE(speaks(found("prefill=a_shape"), "windows_stay_dense"));
  EXPECT_FALSE(speaks(found("prefill@L0,L2=xattention"), "windows_stay_dense"));
  // One layer with a window is another's.
  EXPECT_EQ(said(found("prefill=xattention;prefill@L1=a_shape"), "windows_stay_dense").substr(0, 9),
            "layers 3 ");
}

TEST(rules, something_to_correct) {
  EXPECT_TRUE(speaks(found("correct=delta_attention"), "something_to_correct"));
  EXPECT_TRUE(speaks(found("prefill=dense;correct=delta_attention"), "something_to_correct"));
  EXPECT_FALSE(speaks(found("prefill=a_shape;correct=delta_attention"), "something_to_correct"));
  EXPECT_FALSE(speaks(found("prefill@L0=a_shape;correct=delta_attention"), "something_to_correct"));
}

TEST(rules, calibrated) {
  EXPECT_TRUE(speaks(found("prefill=minference"), "calibrated"));
  EXPECT_FALSE(speaks(found("prefill=minference:patterns=x.json"), "calibrated"));
  EXPECT_FALSE(speaks(found("prefill=xattention"), "calibrated"));
}

TEST(rules, chunks_are_estimated_apart) {
  EXPECT_TRUE(
      speaks(found("prefill=flexprefill", shape(), {1025, 512}), "chunks_are_estimated_apart"));
  EXPECT_NE(said(found("prefill=flexprefill", shape(), {1025, 512}), "chunks_are_estimated_apart")
                .find("each of the 3 chunks of 512"),
            std::string::npos);
  EXPECT_FALSE(
      speaks(found("prefill=flexprefill", shape(), {512, 512}), "chunks_are_estimated_apart"));
  EXPECT_FALSE(
      speaks(found("prefill=a_shape", shape(), {1025, 512}), "chunks_are_estimated_apart"));
}

TEST(rules, chunks_end_with_blocks) {
  const auto cut = [](const char* policy, int chunk) {
    return speaks(found(policy, shape(), {4096, chunk}), "chunks_end_with_blocks");
  };
  EXPECT_TRUE(cut("prefill=xattention", 500));
  EXPECT_FALSE(cut("prefill=xattention", 512));
  EXPECT_TRUE(cut("prefill=xattention:block=512", 768));
  EXPECT_FALSE(cut("prefill=a_shape", 500));
  EXPECT_FALSE(speaks(found("prefill=xattention", shape(), {400, 500}), "chunks_end_with_blocks"));
}

TEST(rules, something_is_skipped) {
  EXPECT_TRUE(speaks(found("prefill=a_shape", shape(), {4096, 512}), "something_is_skipped"));
  EXPECT_FALSE(speaks(found("prefill=a_shape", shape(), {4097, 512}), "something_is_skipped"));
  EXPECT_FALSE(speaks(found("prefill=xattention", shape(), {4096, 512}), "something_is_skipped"));
  EXPECT_FALSE(speaks(found("prefill=dense", shape(), {4096, 512}), "something_is_skipped"));
}

TEST(plan_head, is_what_the_narrowest_place_and_the_window_leave) {
  const ModelShape model = shape();
  const Policy p =
      policy_of("prefill=xattention;prefill@L2=dense;prefill@L3=a_shape:8;correct=delta_attention");
  const auto name = [&](int layer) {
    return plan_head(p, model, layer, 0).prefill.mechanism->name;
  };
  EXPECT_EQ(name(0), "xattention");
  EXPECT_EQ(name(1), "dense");  // a window
  EXPECT_EQ(name(2), "dense");
  EXPECT_EQ(name(3), "a_shape");
  EXPECT_EQ(plan_head(p, model, 0, 7).correct.size(), 1u);
  EXPECT_TRUE(plan_head(p, model, 1, 7).correct.empty());
  EXPECT_TRUE(plan_head(p, model, 2, 7).correct.empty());
  EXPECT_TRUE(plan_head(policy_of(""), model, 0, 0).correct.empty());
}

TEST(predicted_density, is_told_only_where_a_formula_knows_it) {
  const ModelShape model = shape();
  const auto density = [&](const char* policy, int layer, int64_t tokens) {
    const Policy p = policy_of(policy);
    return predicted_density(plan_head(p, model, layer, 0),
                             model.layers[static_cast<size_t>(layer)], tokens);
  };
  EXPECT_EQ(density("", 0, 1000)->most, 1);
  EXPECT_EQ(density("prefill=xattention", 1, 1000)->most, 1);  // stays dense
  EXPECT_FALSE(density("prefill=xattention", 0, 1000).has_value());
  EXPECT_FALSE(density("prefill=a_shape", 1, 100000).has_value());  // in a window of 512
  EXPECT_FALSE(density("", 0, 0).has_value());
  const auto a = density("prefill=a_shape:n_init=0,n_local=1", 0, 999);
  EXPECT_DOUBLE_EQ(a->least, 1 / 500.0);
  const auto both = density("prefill=a_shape:n_init=0,n_local=1;correct=delta_attention", 0, 999);
  EXPECT_GT(both->least, a->least + 1 / 70.0);
  EXPECT_FALSE(density("prefill=xattention;correct=delta_attention", 0, 999).has_value());
}

}  // namespace
}  // namespace heed::test
