// What a person types becomes messages, commands and a file.
#include <gtest/gtest.h>

#include "cli/chat_commands.h"
#include "cli/chat_history.h"
#include "cli/chat_input.h"

namespace heed::cli {
namespace {

std::string assembled(const std::vector<std::string>& lines) {
  MessageAssembler message;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool complete = message.push(lines[i]);
    EXPECT_EQ(complete, i + 1 == lines.size()) << lines[i];
    EXPECT_EQ(message.open(), !complete);
  }
  return message.take();
}

TEST(chat_input, lines_become_messages) {
  EXPECT_EQ(assembled({"one line"}), "one line");
  EXPECT_EQ(assembled({"first \\", "second\\", "third"}), "first \nsecond\nthird");
  EXPECT_EQ(assembled({"\"\"\"", "def f():", "  pass\\", "\"\"\""}), "def f():\n  pass\\\n");
  EXPECT_EQ(assembled({"\"\"\"at once\"\"\""}), "at once");
  EXPECT_EQ(assembled({"\"\"\"begins here", "ends here\"\"\""}), "begins here\nends here");
  EXPECT_EQ(assembled({"a \"\"\" in the middle"}), "a \"\"\" in the middle");
  EXPECT_EQ(assembled({"\"\"\"", "\"\"\""}), "");
}

TEST(chat_commands, every_row_is_understood_and_in_the_help) {
  for (const ChatCommandRow& row : chat_commands()) {
    const std::string needed = *row.argument == '\0' ? "" : " some words ";
    const auto parsed = parse_chat_command(row.name + needed);
    ASSERT_TRUE(parsed.is_ok()) << parsed.message();
    EXPECT_EQ(parsed->command, row.command);
    EXPECT_EQ(parsed->argument, needed.empty() ? "" : "some words");
    EXPECT_NE(chat_help().find(std::string("/") + row.name), std::string::npos);
  }
}

TEST(chat_commands, what_is_not_understood_is_answered_with_the_nearest) {
  const auto message = [](const char* line) { return parse_chat_command(line).message(); };
  EXPECT_NE(message("stauts").find("did you mean '/status'"), std::string::npos);
  EXPECT_NE(message("xyzzy").find("/help"), std::string::npos);
  EXPECT_NE(message("").find("/help"), std::string::npos);
  EXPECT_NE(message("save").find("/save FILE"), std::string::npos);
  EXPECT_NE(message("undo it").find("no argument"), std::string::npos);
  EXPECT_EQ(message("system"), "");
  const auto pasted = parse_chat_command("system\ntwo\nlines\n");
  ASSERT_TRUE(pasted.is_ok()) << pasted.message();
  EXPECT_EQ(pasted->argument, "two\nlines");
}

TEST(chat_history, comes_back_from_its_file) {
  ChatHistory history;
  history.system = "Speak \"plainly\".";
  history.turns = {{"user", "a\nb"}, {"assistant", "\u00e9\t\\"}, {"user", ""}};
  const auto back = ChatHistory::from_json(history.to_json("model"), "f");
  ASSERT_TRUE(back.is_ok()) << back.message();
  EXPECT_EQ(back->system, history.system);
  ASSERT_EQ(back->turns.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(back->turns[i].role, history.turns[i].role);
    EXPECT_EQ(back->turns[i].content, history.turns[i].content);
  }
  EXPECT_EQ(history.take_last(), "");
  EXPECT_EQ(history.take_last(), "a\nb");
  EXPECT_TRUE(history.turns.empty());
  EXPECT_EQ(history.take_last(), std::nullopt);
}

TEST(chat_history, a_broken_file_is_refused_with_what_is_wrong) {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {"", "no JSON object"},
      {"[1]", "no JSON object"},
      {"{\"heed_chat\": 1", "no JSON object"},
      {"{}", "heed_chat"},
      {"{\"heed_chat\": 2, \"messages\": []}", "version 2"},
      {"{\"heed_chat\": 1}", "messages"},
      {"{\"heed_chat\": 1, \"messages\": {}}", "messages"},
      {"{\"heed_chat\": 1, \"messages\": [3]}", "message 0"},
      {"{\"heed_chat\": 1, \"messages\": [{\"role\": \"user\"}]}", "\"content\""},
      {"{\"heed_chat\": 1, \"messages\": [{\"role\": \"user\", \"content\": 4}]}", "\"content\""},
      {"{\"heed_chat\": 1, \"messages\": [{\"role\": \"assistant\", \"content\": \"\"}]}",
       "'user' is due"},
  };
  for (const auto& c : cases) {
    const auto read = ChatHistory::from_json(c.text, "talk.json");
    EXPECT_FALSE(read.is_ok()) << c.text;
    EXPECT_NE(read.message().find(c.says), std::string::npos) << read.message();
    EXPECT_NE(read.message().find("talk.json"), std::string::npos) << read.message();
  }
}

}  // namespace
}  // namespace heed::cli
