// heed chat through a pipe and on a terminal: every command, Ctrl-C, kept conversations.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "file_limit.h"
#include "process.h"
#include "terminal_process.h"
#include "tiny_chat.h"

namespace heed::test {
namespace {

using Words = std::vector<std::string>;

// An empty line that waits to be edited, and the end of one.
constexpr const char* kPrompt = "\x1b[?2004h\r>>> \x1b[K";
constexpr const char* kLeft = "\x1b[?2004l";  // pasted text comes as before
constexpr const char* kEntered = "\x1b[K\x1b[?2004l\r\n";

class Chat : public testing::Test {
 protected:
  Words words(const Words& more) const {
    Words all = {"chat", file_.path(), "-t", "1", "--ignore-eos"};
    all.insert(all.end(), more.begin(), more.end());
    for (const auto& [option, value] : {std::pair{"--temp", "0"}, {"-n", "8"}}) {
      if (std::find(more.begin(), more.end(), option) == more.end()) {
        all.insert(all.end(), {option, value});
      }
    }
    return all;
  }

  // Quiet: answers alone are on stdout.
  Finished piped(const std::string& input, const Words& more = {"-q"}) {
    Process::Options options = home_.options();
    options.input = input;
    return heed(words(more), options);
  }

  std::string answer_to(const std::string& message) {
    const Finished end = piped(message + "\n");
    EXPECT_EQ(end.code, 0) << end.err;
    return end.out;
  }

  EmptyHome home_;
  tiny::TemporaryFile file_{tiny::chat_file(1 << 17)};  // an answer without end takes seconds
};

TEST_F(Chat, a_pipe_is_answered_line_by_line) {
  const std::string first = answer_to("hello");
  EXPECT_FALSE(first.empty());
  const Finished both = piped("hello\n\n   \nand you?\n");
  EXPECT_EQ(both.code, 0) << both.err;
  EXPECT_EQ(both.out.substr(0, first.size()), first);
  EXPECT_GT(both.out.size(), first.size());
  EXPECT_NE(both.out.substr(first.size()), answer_to("and you?")) << "the first message counts";
  EXPECT_EQ(piped("hello").out, first) << "no line end behind the last message";
  EXPECT_EQ(piped("\"\"\"\nhello\n").out, piped("\"\"\"\nhello\n\"\"\"\n").out);
  EXPECT_EQ(piped("hel\\\nlo\n").out, piped("\"\"\"hel\nlo\"\"\"\n").out);
  EXPECT_EQ(piped("").code, 0);
}

TEST_F(Chat, regen_undo_clear_and_system_answer_as_a_fresh_conversation) {
  const std::string first = answer_to("hello"), other = answer_to("other");
  EXPECT_EQ(piped("hello\n/regen\n").out, first + first);
  EXPECT_EQ(piped("hello\n/undo\nother\n").out, first + other);
  EXPECT_EQ(piped("hello\nmore\n/undo\n/undo\nother\n/exit\nnever read\n").out.substr(0, 4),
            first.substr(0, 4));
  EXPECT_EQ(piped("hello\n/clear\nother\n").out, first + other);
  const std::string with_system = piped("hello\n", {"-q", "--system", "be brief"}).out;
  EXPECT_NE(with_system, first);
  EXPECT_EQ(piped("/system be brief\nhello\n").out, with_system);
  EXPECT_EQ(piped("/system be brief\n/system -\nhello\n").out, first);
  EXPECT_EQ(piped("/system be brief\n/system\n").out, "be brief\n");
  EXPECT_EQ(piped("//help\n").out, answer_to("//help"));
  EXPECT_NE(piped("//help\n").out, piped("/help\n").out);
}

TEST_F(Chat, a_regenerated_answer_with_a_seed_is_another_one_and_repeatable) {
  const Words seeded = {"-q", "--temp", "2", "--top-k", "0", "--min-p", "0", "-s", "3"};
  const std::string twice = piped("hello\n/regen\n", seeded).out;
  const std::string once = piped("hello\n", seeded).out;
  EXPECT_EQ(twice.substr(0, once.size()), once);
  EXPECT_NE(twice, once + once);
  EXPECT_EQ(piped("hello\n/regen\n", seeded).out, twice);
}

TEST_F(Chat, commands_say_what_they_did_or_what_is_wrong) {
  const Finished end = piped(
      "/help\n/stauts\n/undo\n/regen\nhello\n/status\n/undo\n/load nowhere\n"
      "/save\n/save /nowhere/at/all\n",
      {});
  EXPECT_EQ(end.code, 0) << end.err;
  for (const char* told : {"/regen", "/save FILE", "context", " of 131072 tokens", "last prompt",
                           "last answer", "8 tokens in", "memory peak"}) {
    EXPECT_NE(end.out.find(told), std::string::npos) << told << "\n" << end.out;
  }
  for (const char* told :
       {"did you mean '/status'", "no message to take back", "there is no message yet",
        "taken back: hello", "nowhere", "/save needs a FILE", "/nowhere/at/all"}) {
    EXPECT_NE(end.err.find(told), std::string::npos) << told << "\n" << end.err;
  }
}

TEST_F(Chat, a_conversation_that_cannot_be_written_goes_on_and_the_old_file_stays) {
  const std::string path = home_.path() + "/talk.json";
  EXPECT_EQ(piped("hello\n/save " + path + "\n").code, 0);
  const std::string old = file_text(path);
  Process::Options options = home_.options();
  options.input = "hello\n/save " + path + "\nmore\n";
  const Finished end = heed_with_file_limit(words({"-q"}), old.size() / 2, options);
  EXPECT_EQ(end.out, piped("hello\nmore\n").out);
  EXPECT_NE(end.err.find(path), std::string::npos) << end.err;
  EXPECT_EQ(file_text(path), old);
}

TEST_F(Chat, a_kept_conversation_goes_on_where_it_was) {
  const std::string path = home_.path() + "/talk.json";
  const Finished whole = piped("hello\nmore\n");
  EXPECT_EQ(piped("hello\n/save " + path + "\n").code, 0);
  EXPECT_EQ(answer_to("hello") + piped("/load " + path + "\nmore\n").out, whole.out);
  const auto json = nlohmann::json::parse(file_text(path));
  EXPECT_EQ(json.at("messages").size(), 2u);
  EXPECT_EQ(json.at("messages")[0].at("content"), "hello");
  // The same by --session, three starts long.
  const std::string session = home_.path() + "/session.json";
  const Words keeping = {"--session", session};
  std::string out = piped("hello\n", keeping).out;
  const Finished second = piped("more\n", keeping);
  EXPECT_NE(second.err.find("tokens ready"), std::string::npos) << second.err;
  EXPECT_EQ(out + second.out, whole.out);
  EXPECT_EQ(piped("/undo\nmore\n", keeping).out, second.out);
  // What was computed may be lost or damaged: the conversation is not.
  std::ofstream(session + ".kv", std::ios::binary | std::ios::trunc) << "rubbish";
  const Finished damaged = piped("/undo\nmore\n", keeping);
  EXPECT_EQ(damaged.out, second.out);
  EXPECT_NE(damaged.err.find(".kv"), std::string::npos) << damaged.err;
  std::filesystem::remove(session + ".kv");
  EXPECT_EQ(piped("/undo\nmore\n", keeping).out, second.out);
  std::ofstream(session, std::ios::trunc) << "{}";
  const Finished broken = piped("more\n", keeping);
  EXPECT_EQ(broken.code, 1);
  EXPECT_EQ(file_text(session), "{}") << "what is not understood is not overwritten";
}

TEST_F(Chat, drafts_change_no_word) {
  const std::string input = "tell me more and more and more\ntell me more and more\n/regen\n";
  const Finished plain = piped(input);
  EXPECT_EQ(piped(input, {"-q", "--lookup", "--lookup-ngram", "1"}).out, plain.out);
  EXPECT_EQ(piped(input, {"-q", "-md", file_.path()}).out, plain.out);
  const Finished told = piped(input + "/status\n", {"--lookup"});
  EXPECT_NE(told.out.find("tokens drafted"), std::string::npos) << told.out;
}

TEST_F(Chat, what_cannot_be_is_refused_before_the_first_message) {
  const tiny::TemporaryFile base(tiny::Spec{.vocab = 300, .text_vocabulary = true});
  const Finished none = heed({"chat", base.path()}, home_.options());
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("no chat template"), std::string::npos) << none.err;
  EXPECT_EQ(piped("", {"-c", "200000"}).code, 1);
  EXPECT_EQ(heed({"chat"}, home_.options()).code, 2);
  EXPECT_EQ(piped("", {"--sesion", "x"}).code, 2);
  EXPECT_EQ(piped("", {"a prompt"}).code, 2);
}

TEST_F(Chat, a_full_context_is_said_and_the_conversation_goes_on) {
  const Finished end =
      piped("hello\n" + std::string(5000, 'x') + "\n/status\nmore\n", {"-c", "256"});
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("/undo"), std::string::npos) << end.err;
  EXPECT_EQ(end.out.substr(0, 4), answer_to("hello").substr(0, 4));
  EXPECT_NE(end.out.find("messages     2\n"), std::string::npos) << end.out;
}

class ChatTerminal : public Chat {
 protected:
  void SetUp() override {
    if (!has_terminals()) GTEST_SKIP() << "no terminals here";
  }
  TerminalProcess terminal(const Words& more) {
    return {words(more), {{"HEED_HOME", home_.path()}, {"NO_COLOR", "1"}}};
  }
};

TEST_F(ChatTerminal, lines_are_edited_and_remembered) {
  {
    TerminalProcess chat = terminal({});
    ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
    // "helo", a letter put in its place, two words taken back, home and end.
    chat.type(
        "helo\x1b[D"
        "l\x05 one two\x17\x17\x01\x05\r");
    ASSERT_TRUE(chat.wait_for(std::string("hello ") + kEntered)) << chat.seen();
    ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
    chat.type("/status\r");
    ASSERT_TRUE(chat.wait_for("messages     2")) << chat.seen();
    ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
    chat.type("\x1b[A\x1b[A");
    ASSERT_TRUE(chat.wait_for("hello ")) << "two lines ago: " << chat.rest();
    chat.type("\x15/exit\r");
    EXPECT_EQ(chat.finish(), 0) << chat.seen();
  }
  const std::string history = home_.path() + "/chat_history";
  EXPECT_EQ(file_text(history), "hello \n/status\n/exit\n");
  struct stat info {};
  ASSERT_EQ(stat(history.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  TerminalProcess next = terminal({});
  ASSERT_TRUE(next.wait_for(kPrompt));
  next.type("\x10");
  ASSERT_TRUE(next.wait_for("/exit")) << next.seen();
  // The first takes a line back, the second is about the program.
  next.type("\x03");
  ASSERT_TRUE(next.wait_for(kPrompt)) << next.seen();
  next.type("\x03");
  ASSERT_TRUE(next.wait_for("again")) << next.seen();
  ASSERT_TRUE(next.wait_for(kPrompt)) << next.seen();
  next.type("\x04");
  EXPECT_EQ(next.finish(), 0);
}

TEST_F(ChatTerminal, what_is_typed_and_pasted_arrives_as_it_was_meant) {
  const std::string session = home_.path() + "/talk.json";
  TerminalProcess chat = terminal({"--session", session});
  const struct {
    const char* typed;
    const char* meant;
  } cases[] = {
      {"\x1b[200~one\rtwo\x1b[201~\r", "one\ntwo"},
      // Line ends of Windows, a tab, and keys that are none inside a paste.
      {"\x1b[200~if x:\r\n\ty\x01\x04\x1b[A\x1b[201~!\r", "if x:\n\ty!"},
      {"two\x1b\rlines\r", "two\nlines"},
      // Characters of several bytes, of two cells, of several code points.
      {"\u65e5\u672c\x7f\u8a9e\x1b[D\u306e\r", "\u65e5\u306e\u8a9e"},
      {"ae\u0301i\x1b[D\x7fo\r", "aoi"},
      {"one two\x1b[1;5D\x1b[1;5Dzero \x1b[1;5C!\r", "zero one! two"},
      {"\xe6x\r", "\uFFFDx"},
  };
  for (const auto& c : cases) {
    ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
    chat.type(c.typed);
  }
  ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
  chat.type("\x04");
  EXPECT_EQ(chat.finish(), 0);
  const auto json = nlohmann::json::parse(file_text(session));
  ASSERT_EQ(json.at("messages").size(), 2 * std::size(cases));
  for (size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(json.at("messages")[2 * i].at("content"), cases[i].meant);
  }
}

TEST_F(ChatTerminal, a_line_is_drawn_again_when_the_window_changes) {
  TerminalProcess chat = terminal({});
  ASSERT_TRUE(chat.wait_for(kPrompt));
  chat.type("123456789 123456789 123456789 123456789 123456789 ");
  ASSERT_TRUE(chat.wait_for("123456789 \x1b[K")) << chat.seen();
  chat.resize(24);  // the prompt, 19 characters, the cursor
  ASSERT_TRUE(chat.wait_for("\r>>> 23456789 123456789 \x1b[K")) << chat.rest();
  chat.type("\x15\x04");
  EXPECT_EQ(chat.finish(), 0);
}

TEST_F(ChatTerminal, the_file_of_lines_is_made_and_is_its_owners_alone) {
  const std::string home = home_.path() + "/not/yet";
  for (const bool readable_before : {false, true}) {
    if (readable_before) {
      ASSERT_EQ(chmod((home + "/chat_history").c_str(), 0644), 0);
    }
    TerminalProcess chat(words({}), {{"HEED_HOME", home}});
    ASSERT_TRUE(chat.wait_for(kPrompt));
    chat.type(readable_before ? "/status\r\x04" : "/help\r\x04");
    EXPECT_EQ(chat.finish(), 0);
    struct stat info {};
    ASSERT_EQ(stat((home + "/chat_history").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
  EXPECT_EQ(file_text(home + "/chat_history"), "/help\n/status\n");
}

TEST_F(ChatTerminal, ctrl_c_stops_an_answer_and_not_the_program) {
  TerminalProcess chat = terminal({"-n", "-1", "-q"});
  ASSERT_TRUE(chat.wait_for(kPrompt));
  for (int i = 0; i < 2; ++i) {
    chat.type("hello\r");
    ASSERT_TRUE(chat.wait_for(std::string("hello") + kEntered));
    ASSERT_TRUE(chat.wait_for_more()) << chat.seen();  // of the answer
    chat.signal(SIGINT);                               // and the same impatience again
    usleep(20'000);
    chat.signal(SIGINT);
    ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
  }
  chat.type("/status\r");
  ASSERT_TRUE(chat.wait_for("stopped: cancelled")) << chat.seen();
  ASSERT_TRUE(chat.wait_for(kPrompt));
  chat.type("\x03");
  ASSERT_TRUE(chat.wait_for("again")) << chat.seen();
  ASSERT_TRUE(chat.wait_for(kPrompt));
  chat.type("\x03");
  EXPECT_EQ(chat.finish(), 0) << chat.seen();
}

TEST_F(ChatTerminal, a_signal_at_the_prompt_ends_the_program_and_gives_the_terminal_back) {
  TerminalProcess chat = terminal({});
  ASSERT_TRUE(chat.wait_for(kPrompt));
  ASSERT_FALSE(chat.is_as_before());
  chat.signal(SIGTERM);
  EXPECT_EQ(chat.finish(), 128 + SIGTERM);
  EXPECT_NE(chat.rest().find(kLeft), std::string::npos) << chat.rest();
  EXPECT_TRUE(chat.is_as_before());
}

TEST_F(ChatTerminal, a_signal_while_a_line_is_edited_stops_no_answer) {
  TerminalProcess chat = terminal({});
  ASSERT_TRUE(chat.wait_for(kPrompt));
  chat.signal(SIGINT);
  usleep(50'000);
  chat.type("hello\r");
  ASSERT_TRUE(chat.wait_for(std::string("hello") + kEntered)) << chat.seen();
  ASSERT_TRUE(chat.wait_for(kPrompt)) << chat.seen();
  chat.type("/status\r");
  ASSERT_TRUE(chat.wait_for("stopped: length")) << chat.seen();
  chat.type("/exit\r");
  EXPECT_EQ(chat.finish(), 0);
}

TEST_F(Chat, a_message_that_is_stopped_before_its_answer_is_said_once) {
  // A long conversation that was never read: its first answer is a while away.
  const std::string path = home_.path() + "/talk.json";
  const nlohmann::json talk = {{"heed_chat", 1},
                               {"messages",
                                {{{"role", "user"}, {"content", std::string(60'000, 'x')}},
                                 {{"role", "assistant"}, {"content", "y"}}}}};
  std::ofstream(path) << talk.dump();
  for (const char* again : {"/regen\n", "hello\n"}) {
    Process::Options options = home_.options();
    options.hold_input = true;
    Process chat(words({}), options);
    chat.type("/load " + path + "\n" + again);
    ASSERT_TRUE(chat.wait_for("read again"));
    usleep(100'000);  // it waits for no line any more
    chat.signal(SIGINT);
    ASSERT_TRUE(chat.wait_for("stopped before"));
    chat.type("/status\n");
    ASSERT_TRUE(chat.wait_for("messages     2", true));
    chat.close_input();
    const Finished end = chat.finish();
    EXPECT_EQ(end.code, 0) << end.err;
    const bool regen = *again == '/';
    EXPECT_EQ(end.err.find("the earlier answer stands") != std::string::npos, regen) << end.err;
    EXPECT_EQ(end.err.find("taken back") != std::string::npos, !regen) << end.err;
  }
}

TEST_F(Chat, a_message_that_waits_for_an_answer_is_answered_or_taken_back_first) {
  const std::string path = home_.path() + "/talk.json";
  std::ofstream(path) << R"({"heed_chat": 1, "messages": [{"role": "user", "content": "hello"}]})";
  const Finished end = piped("/load " + path + "\nmore\n/regen\n/save " + path + "\n", {});
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("has no answer yet; /regen"), std::string::npos) << end.err;
  EXPECT_EQ(end.out, answer_to("hello"));
  EXPECT_EQ(nlohmann::json::parse(file_text(path)).at("messages").size(), 2u);
}

TEST_F(Chat, a_conversation_is_kept_where_nothing_else_is_lost) {
  Process::Options options = home_.options();
  options.env.emplace_back("HOME", home_.path());
  const std::string other = home_.path() + "/main.cpp", talk = home_.path() + "/talk.json";
  std::ofstream(other) << "int main() {}\n";
  options.input = "hello\n/save " + other + "\n/save ~/talk.json\nmore\n/save ~/talk.json\n";
  const Finished end = heed(words({}), options);
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("is no conversation"), std::string::npos) << end.err;
  EXPECT_EQ(file_text(other), "int main() {}\n");
  EXPECT_EQ(nlohmann::json::parse(file_text(talk)).at("messages").size(), 4u);
}

TEST_F(Chat, ctrl_c_through_a_pipe_stops_the_answer_or_ends_at_the_prompt) {
  Process::Options options = home_.options();
  options.hold_input = true;
  Process chat(words({"-q", "-n", "-1"}), options);
  chat.type("hello\n/status\n");
  ASSERT_TRUE(chat.wait_for(answer_to("hello").substr(0, 4), true));
  chat.signal(SIGINT);
  ASSERT_TRUE(chat.wait_for("stopped: cancelled", true));
  for (int i = 0; i < 5; ++i) {  // one that comes before it waits for a line ends nothing
    usleep(200'000);
    chat.signal(SIGINT);
  }
  EXPECT_EQ(chat.finish().code, 130);
}

}  // namespace
}  // namespace heed::test
