// How -p, -f and stdin become one user turn.
#include <gtest/gtest.h>

#include "cli/prompt.h"
#include "cli/terminal.h"
#include "process.h"

namespace heed::cli {
namespace {

TEST(prompt, escapes_are_those_of_llama_cpp) {
  EXPECT_EQ(unescape(R"(a\nb\tc\\d\"e\'f\x41\qz\)"), "a\nb\tc\\d\"e'fA\\qz\\");
  EXPECT_EQ(unescape(R"(\x4)"), R"(\x4)");
  EXPECT_EQ(unescape(""), "");
}

TEST(prompt, a_document_stands_before_the_question_with_a_blank_line) {
  const test::EmptyHome folder;
  const std::string path = folder.path() + "/doc.txt";
  std::ofstream(path, std::ios::binary) << "\xEF\xBB\xBFLine one.\nLine \xFF two.\n\n";
  PromptSource source{.text = "Why\\n?", .has_text = true, .file = path};
  const Result<std::string> both = read_prompt(source, true);
  ASSERT_TRUE(both.is_ok()) << both.message();
  EXPECT_EQ(*both, "Line one.\nLine \xEF\xBF\xBD two.\n\nWhy\n?");

  source.escapes = false;
  EXPECT_EQ(*read_prompt(source, true), "Line one.\nLine \xEF\xBF\xBD two.\n\nWhy\\n?");
  const PromptSource alone{.text = "", .has_text = false, .file = path};
  EXPECT_EQ(*read_prompt(alone, true), "Line one.\nLine \xEF\xBF\xBD two.\n\n");
}

TEST(prompt, line_ends_of_windows_become_newlines) {
  const test::EmptyHome folder;
  const std::string path = folder.path() + "/doc.txt";
  std::ofstream(path, std::ios::binary) << "one\r\ntwo\r\n\r\nthree\rfour\r\n";
  const PromptSource source{.text = "Why?\r\nSay.", .has_text = true, .file = path};
  EXPECT_EQ(*read_prompt(source, true), "one\ntwo\n\nthree\rfour\n\nWhy?\nSay.");
}

TEST(prompt, a_stdin_that_nobody_closes_is_said) {
  test::Process::Options options;
  options.hold_input = true;
  test::Process process({"run", "/no/such.gguf", "-p", "hi", "--offline"}, options);
  EXPECT_TRUE(process.wait_for("waiting for a document on stdin"));
  process.close_input();
  const test::Finished f = process.finish();
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("/no/such.gguf"), std::string::npos) << f.err;
}

TEST(prompt, a_file_that_is_not_there_is_named) {
  const PromptSource source{.text = "", .has_text = false, .file = "/no/such/file"};
  const Result<std::string> text = read_prompt(source, true);
  EXPECT_EQ(text.code(), Code::kNotFound);
  EXPECT_NE(text.message().find("/no/such/file"), std::string::npos);
}

TEST(printable, control_characters_cannot_steer_a_terminal) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  all += "\xC2\x9B\x31m";  // CSI as one character
  const std::string out = printable(all);
  for (const char c : out) {
    const auto byte = static_cast<unsigned char>(c);
    EXPECT_TRUE(byte >= 0x20 || c == '\n' || c == '\t') << int{byte};
    EXPECT_NE(byte, 0x7F);
  }
  EXPECT_EQ(out.find("\xC2\x9B"), std::string::npos);
  EXPECT_EQ(printable("Grüße, 世界 \x1b[31m"), "Grüße, 世界 \\x1b[31m");
}

}  // namespace
}  // namespace heed::cli
