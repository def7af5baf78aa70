// The sampling flags: llama.cpp's spellings, refusals before any model is opened.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "refused_flags.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

TEST(sampling, refusals_name_the_flag_before_a_model_is_opened) {
  const RefusedFlags kBad[] = {
      {{"--samplers", "top_k;top_q"}, "top_q"},
      {{"--samplers", "quite_unlike"}, "'quite_unlike'. Known are"},
      {{"--sampler-seq", "k?"}, "'?'"},
      {{"--sampler-seq", "kp", "--samplers", "top_k"}, "--sampler-seq"},
      {{"--mirostat", "3"}, "mirostat"},
      {{"--mirostat", "2", "--samplers", "top_k"}, "mirostat"},
      {{"--typical", "1.5"}, "typical"},
      {{"--top-nsigma", "inf"}, "top-nsigma"},
      {{"--xtc-probability", "-1"}, "xtc-probability"},
      {{"--dynatemp-range", "-1"}, "dynatemp-range"},
      {{"--dry-base", "0.5"}, "dry-base"},
      {{"--dry-sequence-breaker", ""}, "dry-sequence-breaker"},
      {{"--logit-bias", "12"}, "--logit-bias"},
      {{"--logit-bias", "x-1"}, "--logit-bias"},
      {{"-l", "5+inf"}, "logit-bias"},
      {{"-l", "99999999999-1"}, "--logit-bias"},
  };
  expect_refused(kBad);
}

TEST(sampling, every_flag_of_the_chain_is_taken_and_a_forbidden_token_is_not_chosen) {
  const std::vector<std::string> base = {"run", "-m", small_model(), "-p",     "Name a colour.",
                                         "-n",  "6",  "-q",          "--temp", "0"};
  const Finished plain = heed(base);
  ASSERT_EQ(plain.code, 0) << plain.err;
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> line = base;
    line.insert(line.end(), more.begin(), more.end());
    const Finished f = heed(line);
    EXPECT_EQ(f.code, 0) << f.err;
    return f.out;
  };
  // At temperature 0 filters keep the best token.
  EXPECT_EQ(with({"--top-nsigma", "1", "--typical-p", "1", "--dynatemp-range", "0.5",
                  "--dynatemp-exp", "2", "--sampler-seq", "edskypmxt"}),
            plain.out);
  EXPECT_NE(with({"-l", "1000+1000", "-l", "2-inf"}), plain.out);
  EXPECT_NE(with({"--samplers", "xtc;temp", "--xtc-probability", "1", "--xtc-threshold", "0.01"}),
            plain.out);
  with({"--dry-multiplier", "2", "--dry-sequence-breaker", "\\n", "--dry-sequence-breaker", ":"});
  with({"--mirostat", "2", "--mirostat-ent", "3", "--mirostat-lr", "0.2", "--seed", "1"});
}

TEST(sampling, what_the_file_recommends_counts_where_no_flag_says_otherwise) {
  tiny::File tiny_file = tiny::make_file(tiny::Spec{.vocab = 300, .text_vocabulary = true});
  tiny_file.keys.push_back(tiny::f32_key("general.sampling.temp", 0.0f));
  tiny_file.keys.push_back(tiny::scalar_key<int32_t>("general.sampling.top_k", tiny::kI32, 9));
  tiny_file.keys.push_back(tiny::f32_key("general.sampling.warmth", 1.0f));
  const tiny::TemporaryFile file(tiny_file);
  const auto run = [&](std::vector<std::string> more, const Process::Options& options = {}) {
    std::vector<std::string> line = {"run",   "-m", file.path(), "-p", "x",
                                     "--raw", "-n", "8",         "-o", "json"};
    line.insert(line.end(), more.begin(), more.end());
    const Finished f = heed(line, options);
    EXPECT_EQ(f.code, 0) << f.err;
    auto j = nlohmann::json::parse(f.out, nullptr, false);
    j["err"] = f.err;
    return j;
  };
  // Temperature 0 by the file: seeds do not matter.
  const auto a = run({"--seed", "1"}), b = run({"--seed", "2"});
  EXPECT_EQ(a["text"], b["text"]);
  const auto recommended = nlohmann::json({{"temp", 0}, {"top_k", 9}});
  EXPECT_EQ(a["config"]["file_sampling"], recommended);
  const std::string words = a["err"];
  EXPECT_NE(words.find("recommends: temp 0, top_k 9"), std::string::npos) << words;
  EXPECT_NE(words.find("warmth"), std::string::npos) << words;
  // By a flag or a variable it is the user's.
  const auto seeded = [&](const char* seed) {
    return run({"--temp", "50", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", seed});
  };
  EXPECT_NE(seeded("1")["text"], seeded("2")["text"]);
  const auto hot = run({"--temp", "5"});
  EXPECT_EQ(hot["config"]["file_sampling"], nlohmann::json({{"top_k", 9}}));
  const auto variable = run({}, {.input = {}, .env = {{"HEED_TOP_K", "3"}}});
  EXPECT_EQ(variable["config"]["file_sampling"], nlohmann::json({{"temp", 0}}));
  // heed show has them all.
  const auto shown = nlohmann::json::parse(heed({"show", "-m", file.path(), "-o", "json"}).out);
  EXPECT_EQ(shown["sampling"], nlohmann::json({{"temp", 0}, {"top_k", 9}, {"warmth", nullptr}}));
  const Finished text = heed({"show", "-m", file.path()});
  EXPECT_NE(text.out.find("temp 0, top_k 9, warmth (not known to heed)"), std::string::npos)
      << text.out;
}

}  // namespace
}  // namespace heed::test
