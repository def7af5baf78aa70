// heed explain: what a policy does to a model, and whether.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "oracle_variants.h"
#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

using Json = nlohmann::json;

Json explained(std::vector<std::string> words, int code = 0, const Process::Options& options = {}) {
  words.insert(words.begin(), "explain");
  words.insert(words.end(), {"-o", "json"});
  const Finished f = heed(words, options);
  EXPECT_EQ(f.code, code) << f.err;
  return Json::parse(f.out, nullptr, false);
}

TEST(explain, a_policy_alone_has_its_canonical_form_and_hash) {
  const Json j = explained({"prefill=dense; kv=v:f16,k:bf16"});
  EXPECT_EQ(j["policy"], "kv=k:bf16,v:f16");
  EXPECT_EQ(j["verdict"], "yes");
  EXPECT_EQ(j["hash"].get<std::string>().size(), 16u);
  EXPECT_EQ(j["hash"], explained({"kv=k:bf16,v:f16"})["hash"]);
  EXPECT_NE(j["hash"], explained({"full"})["hash"]);
  EXPECT_TRUE(j["model"].is_null());
}

TEST(explain, a_model_has_its_layers_windows_and_bytes) {
  tiny::Spec spec;
  spec.layers = 3;
  const tiny::TemporaryFile file(spec);
  const Json j = explained({"full", "-m", file.path(), "-c", "300"})["model"];
  ASSERT_EQ(j["rows"].size(), 1u);
  EXPECT_EQ(j["rows"][0]["layers"], Json({0, 1, 2}));
  EXPECT_EQ(j["rows"][0]["heads"], Json({0, 1, 2, 3}));
  EXPECT_EQ(j["rows"][0]["prefill"], "dense");
  EXPECT_EQ(j["rows"][0]["density"]["most"], 1);
  EXPECT_EQ(j["prompt"], 300);
  EXPECT_GT(j["memory"]["peak"], j["memory"]["committed"]);
}

TEST(explain, committed_bytes_are_those_of_the_formats_it_names) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto committed = [&](const char* policy) {
    return explained({policy, "-m", file.path(), "-c", "512"})["model"]["memory"]["committed"]
        .get<uint64_t>();
  };
  // Two layers, two KV heads, 16 dims of keys and of values.
  const uint64_t entries = uint64_t{512} * 2 * 2 * 16;
  EXPECT_EQ(committed("kv=k:f32,v:f32") - committed("kv=k:f16,v:f32"), entries * 2);
  EXPECT_EQ(committed("kv=k:f32,v:f32") - committed("kv=k:f16,v:bf16"), entries * 4);
}

TEST(explain, without_a_prompt_length_it_is_the_models_context) {
  const tiny::TemporaryFile file(tiny::Spec{});
  EXPECT_EQ(explained({"full", "-m", file.path()})["model"]["prompt"], 512);
  const Finished beyond = heed({"explain", "full", "-m", file.path(), "-c", "513"});
  EXPECT_EQ(beyond.code, 1);
  EXPECT_NE(beyond.err.find("trained for 512"), std::string::npos) << beyond.err;
}

TEST(explain, a_refused_policy_says_why_and_is_a_failure) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const Json j = explained({"kv@L0=k:f16", "-m", file.path()}, 1);
  EXPECT_EQ(j["verdict"], "refused");
  EXPECT_EQ(j["because"][0]["rule"], "layers_may_differ");
  const Finished text = heed({"explain", "prefill@L7=dense", "-m", file.path()});
  EXPECT_EQ(text.code, 1);
  EXPECT_NE(text.out.find("refused because prefill@L7: the model has layers 0 to 1"),
            std::string::npos)
      << text.out;
}

TEST(explain, a_malformed_policy_is_wrong_usage) {
  for (const char* policy :
       {"prefill=dens", "ful", "kv=k:f61", "prefill=dense;;", "decode=quest"}) {
    const Finished f = heed({"explain", policy});
    EXPECT_EQ(f.code, 2) << policy;
    EXPECT_EQ(f.out, "");
  }
  EXPECT_EQ(heed({"explain", "full", "--policy", "full"}).code, 2);
}

TEST(explain, flags_come_before_variables_before_files) {
  Process::Options options;
  options.env = {{"HEED_POLICY", "kv=k:f16,v:f16"}};
  EXPECT_EQ(explained({}, 0, options)["policy"], "kv=k:f16,v:f16");
  EXPECT_EQ(explained({"-ctk", "f32"}, 0, options)["policy"], "kv=k:f32,v:f16");
  EXPECT_EQ(explained({"full"}, 0, options)["policy"], "");
  options.env = {{"HEED_PREFILL", "dens"}};
  EXPECT_EQ(heed({"explain"}, options).code, 2);
  EXPECT_EQ(explained({"--prefill", "dense"})["policy"], "");
  EXPECT_EQ(explained({"--prefill-attn", "dense"})["policy"], "");
}

}  // namespace
}  // namespace heed::test
