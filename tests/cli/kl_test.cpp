// heed kl as it is called: one object on stdout, the configuration that was asked for in it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

nlohmann::json kl_json(const std::vector<std::string>& more) {
  const tiny::TemporaryFile file(tiny::Spec{
      .layers = 2, .vocab = 300, .context = 512, .text_vocabulary = true, .space_token = true});
  std::vector<std::string> line{"kl",
                                "-m",
                                file.path(),
                                "--against",
                                "llama.cpp",
                                "--text",
                                std::string(HEED_SOURCE_DIR) + "/docs/demo/document.txt",
                                "-c",
                                "64",
                                "--windows",
                                "2",
                                "-t",
                                "1",
                                "-o",
                                "json"};
  line.insert(line.end(), more.begin(), more.end());
  const Finished f = heed(line);
  EXPECT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out, nullptr, false);
  EXPECT_TRUE(j.is_object()) << f.out;
  EXPECT_EQ(j["tokens"], 128);
  return j;
}

TEST(kl, page_formats_that_are_named_hold_on_an_f32_copy_too) {
  const auto exact = kl_json({"--weights", "f32"});
  EXPECT_EQ(exact["config"]["k_type"], "f32");
  EXPECT_EQ(exact["config"]["v_type"], "f32");
  const auto keys = kl_json({"--weights", "f32", "-ctk", "bf16"});
  EXPECT_EQ(keys["config"]["k_type"], "bf16");
  EXPECT_EQ(keys["config"]["v_type"], "f32");
  EXPECT_EQ(keys["config"]["weights"], "f32");
  EXPECT_GT(keys["kl_vs_ref"]["heed"].get<double>(), exact["kl_vs_ref"]["heed"].get<double>());
  const auto values = kl_json({"--weights", "f32", "-ctv", "f16"});
  EXPECT_EQ(values["config"]["k_type"], "f32");
  EXPECT_EQ(values["config"]["v_type"], "f16");
}

}  // namespace
}  // namespace heed::test
