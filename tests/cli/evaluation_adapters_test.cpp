// heed kl, perplexity and bench with adapters: both engines compute with them, or it is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.h"
#include "tiny_adapter.h"

namespace heed::test {
namespace {

using Words = std::vector<std::string>;

const tiny::Spec kSpec{
    .layers = 2, .vocab = 300, .context = 512, .text_vocabulary = true, .space_token = true};

bool is_table(const std::string& name) { return name == "token_embd.weight"; }

class EvaluationAdapters : public testing::Test {
 protected:
  nlohmann::json json_of(Words words, const Words& more) const {
    words.insert(words.begin() + 1, {"-m", model.path(), "-t", "1", "-o", "json", "-q"});
    words.insert(words.end(), more.begin(), more.end());
    const Finished f = heed(words);
    EXPECT_EQ(f.code, 0) << f.err;
    const auto json = nlohmann::json::parse(f.out, nullptr, false);
    EXPECT_TRUE(json.is_object()) << f.out;
    return json;
  }

  const std::string text = std::string(HEED_SOURCE_DIR) + "/docs/demo/document.txt";
  tiny::TemporaryFile model{kSpec};
  tiny::TemporaryFile lora{tiny::make_adapter(
      kSpec, {.gain = 2, .takes = [](const std::string& name) { return !is_table(name); }})};
  tiny::TemporaryFile table{tiny::make_adapter(kSpec, {.takes = is_table})};
  tiny::TemporaryFile control{tiny::make_control(kSpec, tiny::directions(kSpec, 1))};
  const Words both = {"--lora-scaled", lora.path() + ":0.75", "--control-vector", control.path()};
};

TEST_F(EvaluationAdapters, kl_lays_them_over_every_pass) {
  const Words kl = {"kl", "--text", text, "-c", "64", "--windows", "2"};
  Words exact = both;
  exact.insert(exact.end(), {"-ctk", "f32", "-ctv", "f32"});
  const auto with = json_of(kl, exact);
  EXPECT_NE(with["config"]["adaptation"].get<std::string>().find("0.75"), std::string::npos);
  EXPECT_NE(with["config"]["llama.cpp"].get<std::string>().find("1 LoRA and a control vector"),
            std::string::npos);
  // With f32 pages heed differs from llama.cpp by the f16 cache alone, as llama.cpp from itself. An
  // adapter that one pass lacks moves logits by their own size.
  EXPECT_LT(with["mean_kl"].get<double>(), 2 * with["yardstick"]["mean_kl"].get<double>());
  EXPECT_LT(with["kl_vs_ref"]["heed"].get<double>(), with["kl_vs_ref"]["llama.cpp"].get<double>());
  EXPECT_FALSE(json_of(kl, {})["config"].contains("adaptation"));
}

TEST_F(EvaluationAdapters, perplexity_is_that_of_the_adapted_model_in_both_engines) {
  const Words ppl = {"ppl", "-f", text, "-c", "64", "--chunks", "2", "--compare", "llama.cpp"};
  const auto plain = json_of(ppl, {}), with = json_of(ppl, both);
  EXPECT_TRUE(with["config"].contains("adaptation"));
  const auto change = [&](const nlohmann::json& a, const nlohmann::json& b) {
    return std::log(b["ppl"].get<double>() / a["ppl"].get<double>());
  };
  const double own = change(plain, with), peer = change(plain["compare"], with["compare"]);
  EXPECT_GT(std::abs(own), 0.05) << "the adapters change nothing, so this shows nothing";
  EXPECT_NEAR(peer / own, 1, 0.1);
}

TEST_F(EvaluationAdapters, bench_times_both_engines_with_them) {
  const Words bench = {"bench", "-p",        "32",        "-n",         "4",       "-r",
                       "1",     "--compare", "llama.cpp", "--baseline", "flash=on"};
  const auto rows = json_of(bench, both)["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (const auto& row : rows) {
    EXPECT_NE(row["config"].get<std::string>().find("1 LoRA and a control vector"),
              std::string::npos)
        << row["config"];
  }
  Words chosen = bench;
  chosen.resize(9);  // the fastest llama.cpp is looked for with them too
  const auto fastest = json_of(chosen, {"--lora", lora.path()})["rows"];
  EXPECT_NE(fastest[1]["config"].get<std::string>().find("1 LoRA"), std::string::npos);
}

TEST_F(EvaluationAdapters, what_llama_cpp_cannot_do_is_refused_with_the_way_out) {
  const Words ppl = {"ppl", "-m", model.path(), "-f", text, "-c", "64", "--chunks", "1"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return heed(words);
  };
  EXPECT_EQ(with(ppl, {"--lora", table.path()}).code, 0);
  const Finished peer = with(ppl, {"--lora", table.path(), "--compare", "llama.cpp"});
  EXPECT_EQ(peer.code, 1);
  EXPECT_NE(peer.err.find("leave out --compare"), std::string::npos) << peer.err;
  const Finished kl =
      heed({"kl", "-m", model.path(), "--text", text, "-c", "64", "--lora", table.path()});
  EXPECT_EQ(kl.code, 1);
  EXPECT_NE(kl.err.find("llama.cpp cannot do that"), std::string::npos) << kl.err;
  EXPECT_EQ(with(ppl, {"--lora-scaled", lora.path()}).code, 1) << "no scale";
  EXPECT_EQ(heed({"bench", "-m", model.path(), "--lora", model.path()}).code, 1) << "no adapter";
  EXPECT_EQ(heed({"bench", "kernels", "--lora", lora.path()}).code, 2) << "no model";
}

}  // namespace
}  // namespace heed::test
