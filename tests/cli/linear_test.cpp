// --linear chooses the products: results say which ran.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

class LinearOption : public testing::Test {
 protected:
  // Q4_0: both have products for it.
  tiny::TemporaryFile model_{
      tiny::Spec{.vocab = 300, .weight_type = tiny::kTensorQ4_0, .text_vocabulary = true}};
  EmptyHome folder_;

  std::vector<std::string> line(const std::string& verb) {
    if (verb == "run") {
      return {"run", "-m", model_.path(), "-p", "a;b", "-n", "2", "-t", "1", "-o", "json"};
    }
    const std::string text = folder_.path() + "/text.txt";
    std::ofstream(text) << std::string(200, 'a');
    return {"kl",        "-m", model_.path(), "--text", text, "-c",  "64",
            "--windows", "1",  "-t",          "1",      "-o", "json"};
  }

  std::string products(const std::string& verb, const std::vector<std::string>& more,
                       const Process::Options& options = {}) {
    std::vector<std::string> all = line(verb);
    all.insert(all.end(), more.begin(), more.end());
    const Finished f = heed(all, options);
    EXPECT_EQ(f.code, 0) << f.err;
    return f.code == 0 ? nlohmann::json::parse(f.out)["config"]["linear"] : nlohmann::json("");
  }
};

TEST_F(LinearOption, results_say_which_products_ran) {
  for (const char* verb : {"run", "kl"}) {
    EXPECT_EQ(products(verb, {}), "heed") << verb;
    EXPECT_EQ(products(verb, {"--linear", "heed"}), "heed") << verb;
    EXPECT_EQ(products(verb, {"--linear", "accurate"}), "accurate") << verb;
    EXPECT_EQ(products(verb, {"--linear", "ggml"}).substr(0, 4), "ggml") << verb;
  }
}

TEST_F(LinearOption, the_environment_chooses_and_the_command_line_wins) {
  Process::Options options;
  options.env = {{"HEED_LINEAR", "ggml"}};
  EXPECT_EQ(products("run", {}, options).substr(0, 4), "ggml");
  EXPECT_EQ(products("run", {"--linear", "heed"}, options), "heed");
}

TEST_F(LinearOption, an_unknown_name_is_refused_with_the_nearest) {
  for (const char* verb : {"run", "kl", "bench"}) {
    for (const auto& [wrong, nearest] :
         {std::pair{"hed", "heed"}, {"gmml", "ggml"}, {"acurate", "accurate"}}) {
      const Finished f = heed({verb, "-m", model_.path(), "--linear", wrong});
      EXPECT_EQ(f.code, 2) << verb << ": " << f.err;
      EXPECT_NE(f.err.find("--linear"), std::string::npos) << f.err;
      EXPECT_NE(f.err.find(std::string("'") + nearest + "'"), std::string::npos) << f.err;
    }
  }
}

TEST_F(LinearOption, onednn_is_refused_with_the_reason_and_a_way_out) {
  for (const char* verb : {"run", "kl", "bench", "show"}) {
    const Finished f = heed({verb, "-m", model_.path(), "--linear", "onednn"});
    EXPECT_EQ(f.code, 2) << verb << ": " << f.err;
    EXPECT_NE(f.err.find("heed's own products serve F32, F16 and BF16"), std::string::npos)
        << verb << ": " << f.err;
    EXPECT_NE(f.err.find("leave --linear out"), std::string::npos) << verb << ": " << f.err;
  }
  Process::Options options;
  options.env = {{"HEED_LINEAR", "onednn"}};
  const Finished f = heed({"run", "-m", model_.path(), "-p", "a"}, options);
  EXPECT_EQ(f.code, 2) << f.err;
  EXPECT_NE(f.err.find("HEED_LINEAR"), std::string::npos) << f.err;
  EXPECT_NE(f.err.find("built without oneDNN"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
