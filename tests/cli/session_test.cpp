// heed run --session and --parallel with the real binary and the smallest model.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "file_limit.h"
#include "process.h"

namespace heed::test {
namespace {

class session : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 30; ++i) text += "Line " + std::to_string(i) + " of the report is dull.\n";
    std::ofstream(doc_) << text << "The cat is called Mina.\n";
  }
  std::vector<std::string> line(const std::vector<std::string>& more) const {
    std::vector<std::string> out = {"run", "-m", small_model(), "-f", doc_};
    if (std::find(more.begin(), more.end(), "--temp") == more.end()) {
      out.insert(out.end(), {"--temp", "0"});
    }
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  nlohmann::json json(std::vector<std::string> more) const {
    more.insert(more.end(), {"-o", "json"});
    const Finished f = heed(line(more));
    EXPECT_EQ(f.code, 0) << f.err;
    return nlohmann::json::parse(f.out);
  }

  EmptyHome folder_;
  std::string doc_ = folder_.path() + "/doc.txt";
  std::string file_ = folder_.path() + "/a.session";
};

TEST_F(session, the_second_question_computes_only_what_is_new) {
  const auto first = json({"-p", "Who?", "-n", "4", "--session", file_});
  EXPECT_EQ(first["reused_tokens"], 0);
  EXPECT_EQ(first["session"]["written"], true);
  EXPECT_EQ(first["session"]["bytes"], std::filesystem::file_size(file_));
  const auto alone = json({"-p", "What is the cat called?", "-n", "6"});
  const auto second = json({"-p", "What is the cat called?", "-n", "6", "--prompt-cache", file_});
  EXPECT_GT(second["reused_tokens"].get<int>(), first["prompt_tokens"].get<int>() - 30);
  EXPECT_EQ(second["text"], alone["text"]);
  EXPECT_EQ(second["prompt_tokens"], alone["prompt_tokens"]);
  // The same again: all but the token whose logits are asked for.
  const auto third = json({"-p", "What is the cat called?", "-n", "6", "--session", file_});
  EXPECT_EQ(third["reused_tokens"].get<int>(), alone["prompt_tokens"].get<int>() - 1);
  EXPECT_EQ(third["text"], alone["text"]);
  EXPECT_EQ(third["session"]["written"], false);
}

TEST_F(session, what_is_reused_and_saved_is_said_on_stderr) {
  const Finished first = heed(line({"-p", "Who?", "-n", "2", "--session", file_}));
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find("nothing to reuse"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find("tokens saved"), std::string::npos) << first.err;
  const auto time = std::filesystem::last_write_time(file_);
  const Finished second =
      heed(line({"-p", "Where?", "-n", "2", "--session", file_, "--prompt-cache-ro"}));
  EXPECT_NE(second.err.find("prompt tokens reused"), std::string::npos) << second.err;
  EXPECT_EQ(second.err.find("saved"), std::string::npos) << second.err;
  EXPECT_EQ(std::filesystem::last_write_time(file_), time);
  const Finished quiet = heed(line({"-p", "Where?", "-n", "2", "--session", file_, "-q"}));
  EXPECT_EQ(quiet.err, "");
}

TEST_F(session, a_file_that_does_not_fit_is_an_error_and_stays) {
  json({"-p", "Who?", "-n", "1", "--session", file_});
  const auto size = std::filesystem::file_size(file_);
  const Finished other = heed(line({"-p", "Who?", "-n", "1", "--session", file_, "-ctk", "f32"}));
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("k is bf16 there and f32 here"), std::string::npos) << other.err;
  EXPECT_EQ(std::filesystem::file_size(file_), size);
  const std::string text = file_text(doc_);
  const Finished diary = heed(line({"-p", "Who?", "-n", "1", "--session", doc_}));
  EXPECT_EQ(diary.code, 1);
  EXPECT_NE(diary.err.find("no session"), std::string::npos) << diary.err;
  EXPECT_EQ(file_text(doc_), text);
}

TEST_F(session, a_place_that_cannot_be_written_is_refused_before_anything_is_computed) {
  const std::string nowhere = folder_.path() + "/none/a.session", in_file = doc_ + "/a.session";
  for (const std::string& place : {nowhere, in_file, folder_.path()}) {
    const Finished f = heed(line({"-p", "Who?", "-n", "2", "--session", place}));
    EXPECT_EQ(f.code, 1);
    EXPECT_EQ(f.out, "");
    EXPECT_NE(f.err.find("--session"), std::string::npos) << f.err;
    EXPECT_NE(f.err.find(place), std::string::npos) << f.err;
  }
  // One that is only read needs no place.
  const Finished read =
      heed(line({"-p", "Who?", "-n", "2", "--session", nowhere, "--prompt-cache-ro"}));
  EXPECT_EQ(read.code, 0) << read.err;
  EXPECT_FALSE(read.out.empty());
}

// What another process does to the file meanwhile is seen when it is written.
TEST_F(session, a_file_that_cannot_be_written_in_the_end_fails_behind_the_answer) {
  std::filesystem::create_directory(file_ + ".new");  // in the way
  const Finished f = heed(line({"-p", "Who?", "-n", "2", "--session", file_}));
  EXPECT_EQ(f.code, 1);
  EXPECT_FALSE(f.out.empty());
  EXPECT_NE(f.err.find(file_), std::string::npos) << f.err;
}

// The disk is full, or this process's limit is reached: the same errors.
TEST_F(session, a_file_that_cannot_grow_fails_behind_the_answer_and_the_old_one_stays) {
  json({"-p", "Who?", "-n", "1", "--session", file_});
  const std::string old = file_text(file_);
  const std::vector<std::string> words = {"-p", "What is the cat called?", "-n", "6", "-q"};
  const Finished alone = heed(line(words));
  auto saving = words;
  saving.insert(saving.end(), {"--session", file_});
  const Finished f = heed_with_file_limit(line(saving), old.size() / 2);
  EXPECT_EQ(f.code, 1);
  EXPECT_EQ(f.out, alone.out);
  EXPECT_NE(f.err.find(file_), std::string::npos) << f.err;
  EXPECT_NE(f.err.find("what was there before is unchanged"), std::string::npos) << f.err;
  EXPECT_EQ(file_text(file_), old);
  EXPECT_FALSE(std::filesystem::exists(file_ + ".new"));
  // The report comes too, and the next run with room saves.
  auto reported = saving;
  reported.insert(reported.end(), {"-o", "json"});
  const Finished g = heed_with_file_limit(line(reported), old.size() / 2);
  EXPECT_EQ(g.code, 1);
  EXPECT_TRUE(alone.out.starts_with(nlohmann::json::parse(g.out)["text"].get<std::string>()));
  EXPECT_EQ(heed(line(saving)).code, 0);
  EXPECT_NE(file_text(file_), old);
}

TEST_F(session, options_that_exclude_each_other_are_usage_errors) {
  const std::vector<std::vector<std::string>> lines = {
      {"-p", "x", "--session", file_, "--compare", "llama.cpp"},
      {"-p", "x", "-np", "2", "--compare", "llama.cpp"},
      {"-p", "x", "--prompt-cache-ro"},
      {"-p", "x", "-np", "0"}};
  for (const auto& more : lines) {
    const Finished f = heed(line(more));
    EXPECT_EQ(f.code, 2) << f.err;
  }
}

TEST_F(session, answers_of_one_prompt_are_those_of_runs_alone) {
  const std::vector<std::string> drawn = {"-p", "Tell me of the cat.", "-n", "8", "--temp", "1.2"};
  auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = drawn;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto several = json(with({"-np", "3", "--seed", "5"}));
  ASSERT_EQ(several["answers"].size(), 3u);
  EXPECT_EQ(several["text"], several["answers"][0]["text"]);
  const auto last = json(with({"--seed", "7"}));
  EXPECT_EQ(several["answers"][2]["text"], last["text"]);
  EXPECT_EQ(several["answers"][2]["seed"], 7);
  const Finished text = heed(line(with({"--parallel", "3", "--seed", "5"})));
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find(last["text"].get<std::string>()), std::string::npos) << text.out;
  EXPECT_NE(text.err.find("answer 3 of 3, seed 7"), std::string::npos) << text.err;
}

}  // namespace
}  // namespace heed::test
