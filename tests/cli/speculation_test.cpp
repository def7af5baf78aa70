// heed run with a drafter: the same answer, what was accepted, refusals.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

tiny::Spec text_spec() {
  return {.vocab = 300, .context = 256, .text_vocabulary = true, .space_token = true};
}

using Line = std::vector<std::string>;

Line line_of(const std::string& model, const Line& more) {
  Line line = {"run", model, "-p", "abcabcabcabc", "--raw", "-n", "40", "-s", "7", "--ignore-eos"};
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

TEST(speculation, answers_are_those_of_plain_decoding_and_the_acceptance_is_told) {
  const tiny::TemporaryFile file(text_spec());
  tiny::Spec small = text_spec();
  small.seed = 9;
  small.layers = 1;
  const tiny::TemporaryFile other(small);
  for (const char* temperature : {"0", "0.9"}) {
    const Finished plain = heed(line_of(file.path(), {"-q", "--temp", temperature}));
    ASSERT_EQ(plain.code, 0) << plain.err;
    const Line drafters[] = {{"--lookup", "--lookup-ngram", "1"},
                             {"-md", file.path(), "--draft-max", "5"},
                             {"--model-draft", other.path(), "--draft-p-min", "0.02", "-cd", "32"}};
    for (Line more : drafters) {
      more.insert(more.end(), {"--temp", temperature});
      const Finished drafted = heed(line_of(file.path(), more));
      EXPECT_EQ(drafted.code, 0) << drafted.err;
      EXPECT_EQ(drafted.out, plain.out) << more[0];
      EXPECT_NE(drafted.err.find(" tokens drafted, "), std::string::npos) << drafted.err;
      EXPECT_EQ(drafted.err.find("then none"), std::string::npos) << drafted.err;
    }
  }
}

TEST(speculation, json_has_what_was_drafted_and_accepted) {
  const tiny::TemporaryFile file(text_spec());
  const Finished end =
      heed(line_of(file.path(), {"-md", file.path(), "--draft", "3", "--temp", "0", "-o", "json"}));
  ASSERT_EQ(end.code, 0) << end.err;
  const auto draft = nlohmann::json::parse(end.out).at("draft");
  // 39 tokens behind the first: nine steps of four, and one of three.
  EXPECT_EQ(draft.at("steps"), 10);
  EXPECT_EQ(draft.at("drafted_tokens"), 29);
  EXPECT_EQ(draft.at("accepted_tokens"), 29);
  EXPECT_EQ(draft.at("acceptance"), 1.0);
  EXPECT_EQ(draft.at("tokens_per_step"), 3.9);
  EXPECT_GT(draft.at("draft_s"), 0.0);
  EXPECT_EQ(draft.at("stopped"), "");
  const Finished plain = heed(line_of(file.path(), {"-o", "json"}));
  EXPECT_FALSE(nlohmann::json::parse(plain.out).contains("draft"));
}

TEST(speculation, several_answers_are_drafted_and_told_one_by_one) {
  const tiny::TemporaryFile file(text_spec());
  const Line three = {"-np", "3", "--temp", "2", "--top-k", "0", "--min-p", "0"};
  const auto with = [&](Line more) {
    more.insert(more.end(), three.begin(), three.end());
    const Finished end = heed(line_of(file.path(), more));
    EXPECT_EQ(end.code, 0) << end.err;
    return end;
  };
  const Finished plain = with({"-q"});
  EXPECT_EQ(with({"-q", "--lookup", "--lookup-ngram", "1"}).out, plain.out);
  const Finished drafted = with({"-md", file.path()});
  EXPECT_EQ(drafted.out, plain.out);
  for (const char* told : {"drafts ", "- answer 1", "- answer 2", "- answer 3"}) {
    EXPECT_NE(drafted.err.find(told), std::string::npos) << drafted.err;
  }
  const auto json = nlohmann::json::parse(with({"-md", file.path(), "-o", "json"}).out);
  int64_t sum = 0;
  for (const auto& answer : json.at("answers")) {
    sum += answer.at("draft").at("accepted_tokens").get<int64_t>();
  }
  EXPECT_EQ(json.at("draft").at("accepted_tokens"), sum);
  EXPECT_GT(sum, 0);
}

TEST(speculation, what_cannot_be_is_refused_with_the_way_out) {
  const tiny::TemporaryFile file(text_spec());
  const struct {
    Line more;
    int code;
    const char* says;
  } cases[] = {
      {{"--lookup", "-md", "x.gguf"}, 2, "give one"},
      {{"--draft-max", "4"}, 2, "nothing guesses"},
      {{"--draft-p-min", "0.5", "--lookup"}, 2, "give one with -md"},
      {{"--lookup", "--draft-min", "9"}, 2, "--draft-min 9 is more than --draft-max 7"},
      {{"--lookup", "--draft-max", "64"}, 2, "63"},
      {{"--lookup-ngram", "2"}, 2, "--lookup-ngram needs --lookup"},
      {{"-md", "/nowhere/x.gguf"}, 1, "/nowhere/x.gguf"},
      {{"-md", file.path(), "-cd", "512"}, 1, "trained for 256"},
      {{"--draft-maks", "3", "--lookup"}, 2, "--draft-max"},
  };
  for (const auto& c : cases) {
    const Finished end = heed(line_of(file.path(), c.more));
    EXPECT_EQ(end.code, c.code) << end.err;
    EXPECT_NE(end.err.find(c.says), std::string::npos) << end.err;
  }
  tiny::Spec foreign = text_spec();
  foreign.space_token = false;
  const tiny::TemporaryFile other(foreign);
  const Finished end = heed(line_of(file.path(), {"-md", other.path()}));
  EXPECT_EQ(end.code, 1);
  EXPECT_NE(end.err.find("token 259"), std::string::npos) << end.err;
}

}  // namespace
}  // namespace heed::test
