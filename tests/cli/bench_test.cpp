// heed bench -m MODEL as it is called: one object on stdout, a row for every test.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

const tiny::Spec kSpec{.layers = 2, .vocab = 300, .context = 2048, .text_vocabulary = true};

TEST(bench, cross_runs_prompts_at_every_depth_and_prints_one_object) {
  const tiny::TemporaryFile file(kSpec);
  const Finished f = heed({"bench", "-m", file.path(), "-p", "32", "-n", "4", "-d", "0,16",
                           "--cross", "-r", "1", "-t", "1", "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out, nullptr, false);
  ASSERT_TRUE(j.is_object()) << f.out;
  std::vector<std::pair<std::string, int>> tests;
  for (const auto& row : j["rows"]) {
    tests.emplace_back(row["test"], row["depth"]);
    EXPECT_EQ(row["model"], file.path());
    EXPECT_EQ(row["engine"], "heed");
    EXPECT_EQ(row["repeats"], 1);
    EXPECT_GT(row["median_s"].get<double>(), 0);
    EXPECT_GT(row["tokens_per_s"].get<double>(), 0);
  }
  EXPECT_EQ(tests, (std::vector<std::pair<std::string, int>>{
                       {"pp32", 0}, {"pp32", 16}, {"tg4", 0}, {"tg4", 16}}));
  EXPECT_EQ(j["machine"]["threads"], 1);
}

}  // namespace
}  // namespace heed::test
