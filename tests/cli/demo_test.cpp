// What `make run` promises: the bundled question over the bundled document is answered correctly.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"

namespace heed::test {
namespace {

TEST(demo, dense_attention_answers_the_bundled_question) {
  const std::string folder = std::string(HEED_SOURCE_DIR) + "/docs/demo/";
  std::string expected = file_text(folder + "answer.txt");
  while (!expected.empty() && expected.back() == '\n') expected.pop_back();
  ASSERT_FALSE(expected.empty());
  const Finished f =
      heed({"run", small_model(), "-f", folder + "document.txt", "-p",
            file_text(folder + "question.txt"), "--temp", "0", "-n", "64", "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out);
  EXPECT_NE(j["text"].get<std::string>().find(expected), std::string::npos) << j["text"];
  EXPECT_GT(j["prompt_tokens"].get<int>(), 3500);
  EXPECT_EQ(j["stop"], "end");
  EXPECT_EQ(j["decode_graph_builds"].get<int>() <= 1, true);
}

}  // namespace
}  // namespace heed::test
