// Adapters and control vectors from the command line.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.h"
#include "tiny_adapter.h"

namespace heed::test {
namespace {

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 280;
  return spec;
}

class AdapterFlags : public testing::Test {
 protected:
  std::vector<std::string> words(std::vector<std::string> more) const {
    std::vector<std::string> all = {"run", model.path(), "--raw", "-p", "hello", "-n",
                                    "12",  "--temp",     "0",     "-o", "json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string answer(const std::vector<std::string>& more) const {
    const Finished f = heed(words(more));
    EXPECT_EQ(f.code, 0) << f.err;
    return f.code == 0 ? nlohmann::json::parse(f.out)["text"].get<std::string>() : f.err;
  }
  void expect_usage(const std::vector<std::string>& more, const std::string& says) const {
    const Finished f = heed(words(more));
    EXPECT_EQ(f.code, 2) << f.err;
    EXPECT_NE(f.err.find(says), std::string::npos) << f.err;
  }

  tiny::Spec spec = text_spec();
  tiny::TemporaryFile model{spec};
  tiny::TemporaryFile lora{tiny::make_adapter(spec, {.gain = 2})};
  tiny::TemporaryFile other{tiny::make_adapter(spec, {.gain = 2, .seed = 5})};
  tiny::TemporaryFile control{tiny::make_control(spec, tiny::directions(spec, 1))};
};

TEST_F(AdapterFlags, spellings_of_a_scale_mean_the_same) {
  const std::string plain = answer({}), whole = answer({"--lora", lora.path()});
  EXPECT_NE(whole, plain);
  EXPECT_EQ(answer({"--lora-scaled", lora.path() + ":1.0"}), whole);
  const std::string half = answer({"--lora", lora.path() + ":0.5"});
  EXPECT_NE(half, whole);
  EXPECT_EQ(answer({"--lora-scaled", lora.path() + ":0.5"}), half);
  EXPECT_EQ(answer({"--lora", lora.path() + ":0"}), plain);
}

TEST_F(AdapterFlags, repeated_and_listed_adapters_mean_the_same) {
  const std::string both = answer({"--lora", lora.path(), "--lora", other.path()});
  EXPECT_EQ(answer({"--lora", lora.path() + "," + other.path()}), both);
  EXPECT_NE(both, answer({"--lora", lora.path()}));
  EXPECT_NE(both, answer({"--lora", other.path()}));
}

TEST_F(AdapterFlags, control_vectors_change_the_layers_of_their_range) {
  const std::string strong = control.path() + ":30";
  const std::string plain = answer({}), steered = answer({"--control-vector-scaled", strong});
  EXPECT_NE(steered, plain);
  EXPECT_EQ(answer({"--control-vector-scaled", strong, "--control-vector-layer-range", "1", "1"}),
            steered);
  EXPECT_EQ(answer({"--control-vector-scaled", control.path() + ":0"}), plain);
  const Finished f =
      heed(words({"--control-vector", control.path(), "--control-vector-layer-range", "3", "9"}));
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("must be 1 to 1"), std::string::npos) << f.err;
}

TEST_F(AdapterFlags, llama_cpp_gets_the_same_adapters) {
  const tiny::TemporaryFile layers(tiny::make_adapter(
      spec, {.takes = [](const std::string& name) { return name.starts_with("blk."); }}));
  const Finished f =
      heed(words({"--lora", layers.path() + ":0.5", "--control-vector", control.path(), "--compare",
                  "llama.cpp", "-ctk", "f32", "-ctv", "f32"}));
  ASSERT_EQ(f.code, 0) << f.err;
  const auto json = nlohmann::json::parse(f.out);
  EXPECT_EQ(json["compare"][0]["text"], json["compare"][1]["text"]);
  EXPECT_TRUE(json["config"]["adaptation"].get<std::string>().starts_with("lora ")) << f.out;
}

TEST_F(AdapterFlags, what_would_stop_llama_cpp_is_refused) {
  const Finished f = heed(words({"--lora", lora.path(), "--compare", "llama.cpp"}));
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("token_embd.weight"), std::string::npos) << f.err;
}

TEST_F(AdapterFlags, wrong_use_is_a_usage_error) {
  expect_usage({"--lora-scaled", lora.path()}, "is not FILE:SCALE");
  expect_usage({"--lora-scaled", lora.path() + ":much"}, "is not FILE:SCALE");
  expect_usage({"--control-vector-scaled", control.path() + ":nan"}, "is not FILE:SCALE");
  expect_usage({"--control-vector-layer-range", "1", "2"}, "needs --control-vector");
  expect_usage({"--lora", lora.path() + ",,"}, "empty entry");
}

TEST_F(AdapterFlags, a_file_in_the_wrong_place_is_named_with_the_right_one) {
  const Finished as_model = heed({"run", lora.path(), "-p", "hello"});
  EXPECT_EQ(as_model.code, 1);
  EXPECT_NE(as_model.err.find("--lora"), std::string::npos) << as_model.err;
  const Finished as_lora = heed(words({"--lora", model.path()}));
  EXPECT_EQ(as_lora.code, 1);
  EXPECT_NE(as_lora.err.find("goes behind -m"), std::string::npos) << as_lora.err;
  EXPECT_EQ(as_lora.out, "");
  EXPECT_EQ(heed(words({"--lora", "/no/such.gguf"})).code, 1);
}

TEST_F(AdapterFlags, show_describes_an_adapter) {
  const Finished text = heed({"show", "-m", lora.path(), "--weights"});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find("rank          4, alpha 8"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("blk.1.ffn_down.weight"), std::string::npos) << text.out;
  const Finished json = heed({"show", "-m", lora.path(), "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["adapter"], "lora") << json.err;
}

}  // namespace
}  // namespace heed::test
