// Policies in files and in several places at once.
#include "heed/policy_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "temporary_folder.h"

namespace heed::test {
namespace {

std::string said(std::string_view json) {
  const auto policy = policy_of_json(json, "p.json");
  EXPECT_TRUE(policy.is_ok()) << policy.message();
  return policy.is_ok() ? policy->text() : "";
}

TEST(policy_file, says_what_the_text_says) {
  EXPECT_EQ(said("{}"), "");
  EXPECT_EQ(said(R"({"schema_version": 1, "about": "x", "prefill": "dense"})"), "");
  EXPECT_EQ(said(R"({"kv": {"v": "f16", "k": "bf16"}, "prefill": {"name": "dense"}})"),
            "kv=k:bf16,v:f16");
  EXPECT_EQ(said(R"({"kv": "k:f16", "prefill": ["dense"]})"), "kv=k:f16");
  EXPECT_EQ(said(R"({"overrides": {"L0-3": {"kv": {"k": "f16"}}, "*": {"kv": "v:f32"}}})"),
            "kv=v:f32;kv@L0-3=k:f16");
}

TEST(policy_file, what_is_wrong_gives_one_line_with_the_file_and_the_key) {
  const std::pair<std::string, const char*> kBad[] = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {"{\"prefill\": \"dense\"", "not a JSON object"},
      {"{\"prefill\": \"dense\",}", "not a JSON object"},
      {"{\"kv\": \"\xff\"}", "not a JSON object"},
      {R"({"prefill": "dense", "prefill": "dense"})", "'prefill' is given twice"},
      {R"({"overrides": {"L0": {}, "L0": {}}})", "'L0' is given twice"},
      {std::string(100000, '['), "deep"},
      {R"({"schema_version": 2})", "schema_version is '2', must be 1"},
      {R"({"prefil": "dense"})", "did you mean 'prefill'?"},
      {R"({"prefill": 5})", "prefill is '5', must be a string or an object"},
      {R"({"prefill": {"gamma": 1}})", "an object with \"name\""},
      {R"({"prefill": {"name": "dense", "x": 1}})", "'x=1'"},
      {R"({"prefill": {"name": "dense", "x": [1]}})", "'x' is '[1]', must be a number"},
      {R"({"prefill": {"name": "dense;kv=k:f16"}})", "must be one of dense"},
      {R"({"prefill": "dense;kv=k:f16"})", "one mechanism"},
      {R"({"prefill": "dense\"x"})", "not closed"},
      {R"({"prefill;kv=k:f16": "dense"})", "is no stage"},
      {R"({"prefill@L3": "dense", "x": 1})", "must be"},
      {R"({"kv": {"k": 16}})", "kv: 'k' is '16'"},
      {R"({"kv": {"k": "f61"}})", "did you mean 'f16'?"},
      {R"({"kv": {"x": "f16"}})", "k:FORMAT,v:FORMAT"},
      {R"({"overrides": []})", "overrides is '[]'"},
      {R"({"overrides": {"3": {}}})", "L0-3"},
      {R"({"overrides": {"L3": "dense"}})", "an object of stages"},
      {R"({"overrides": {"L3": {"overrides": {}}}})", "overrides"},
  };
  for (const auto& [json, part] : kBad) {
    const auto policy = policy_of_json(json, "p.json");
    ASSERT_FALSE(policy.is_ok()) << json.substr(0, 100);
    EXPECT_NE(policy.message().find(part), std::string::npos) << policy.message();
    EXPECT_EQ(policy.message().find("policy 'p.json': "), 0u) << policy.message();
    EXPECT_EQ(policy.message().find('\n'), std::string::npos);
    EXPECT_LT(policy.message().size(), 500u);
  }
}

TEST(load_policy, takes_text_presets_and_files) {
  const TemporaryFolder folder;
  const std::string path = folder / "own=x.json";
  std::ofstream(path) << R"({"kv": {"k": "f32"}})";
  EXPECT_EQ(load_policy(path)->text(), "kv=k:f32");
  EXPECT_EQ(load_policy("full")->text(), "");
  EXPECT_EQ(load_policy("kv=v:f16")->text(), "kv=v:f16");
  const auto near = load_policy("ful");
  EXPECT_NE(near.message().find("did you mean 'full'?"), std::string::npos) << near.message();
  EXPECT_EQ(load_policy(folder / "none.json").code(), Code::kNotFound);
  EXPECT_FALSE(load_policy(folder.path()).is_ok());
}

TEST(settle_policy, the_command_line_comes_before_the_environment_before_files) {
  const TemporaryFolder folder;
  const std::string file = folder / "p.json";
  std::ofstream(file)
      << R"({"kv": {"k": "f32", "v": "f32"}, "overrides": {"L0": {"prefill": "dense"}}})";
  const auto settled = [](const PolicyWords& line, const PolicyWords& environment) {
    const auto policy = settle_policy(line, environment);
    EXPECT_TRUE(policy.is_ok()) << policy.message();
    return policy.is_ok() ? policy->text() : "";
  };
  const auto kv = [](const char* text) {
    return std::vector<std::pair<Stage, std::string>>{{Stage::kKv, text}};
  };
  EXPECT_EQ(settled({}, {}), "");
  EXPECT_EQ(settled({file, {}}, {}), "kv=k:f32,v:f32");
  EXPECT_EQ(settled({file, kv("k:f16")}, {}), "kv=k:f16,v:f32");
  EXPECT_EQ(settled({file, {}}, {"", kv("k:bf16")}), "kv=k:bf16,v:f32");
  EXPECT_EQ(settled({file, kv("k:f16")}, {"", kv("k:bf16,v:bf16")}), "kv=k:f16,v:bf16");
  EXPECT_EQ(settled({"", kv("k:f16")}, {file, {}}), "kv=k:f16,v:f32");
  EXPECT_EQ(settled({"kv=k:f16", {}}, {"kv=v:bf16", {}}), "kv=k:f16");  // the same option
  EXPECT_EQ(settled({}, {"kv=v:bf16", {}}), "kv=v:bf16");
  const auto twice = settle_policy({"kv=k:f16", kv("k:bf16")}, {});
  ASSERT_FALSE(twice.is_ok());
  EXPECT_NE(twice.message().find("kv is given twice"), std::string::npos) << twice.message();
  const auto stray = settle_policy({"", kv("k:f16;prefill=dense")}, {});
  ASSERT_FALSE(stray.is_ok());
  EXPECT_NE(stray.message().find("must be one mechanism"), std::string::npos) << stray.message();
}

}  // namespace
}  // namespace heed::test
