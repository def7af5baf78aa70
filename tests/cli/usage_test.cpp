// Wrong command lines end with exit code 2, name what is wrong and the nearest right thing.
#include <gtest/gtest.h>

#include "process.h"

namespace heed::test {
namespace {

struct Wrong {
  std::vector<std::string> arguments;
  std::string named;  // stderr contains it
};

// GoogleTest would print the bytes.
void PrintTo(const Wrong& wrong, std::ostream* out) {
  for (const std::string& word : wrong.arguments) *out << word << ' ';
}

class WrongUsage : public testing::TestWithParam<Wrong> {};

TEST_P(WrongUsage, ends_with_code_2_and_names_the_way_out) {
  const Finished f = heed(GetParam().arguments);
  EXPECT_EQ(f.code, 2);
  EXPECT_EQ(f.out, "");
  EXPECT_NE(f.err.find(GetParam().named), std::string::npos) << f.err;
  EXPECT_NE(f.err.find("--help"), std::string::npos) << f.err;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, WrongUsage,
    testing::Values(
        Wrong{{"rnu"}, "did you mean 'run'"}, Wrong{{"--versoin"}, "did you mean '--version'?"},
        Wrong{{"run", "m", "--tmep", "1"}, "did you mean '--temp'"},
        Wrong{{"run", "m", "-temp", "1"}, "did you mean '--temp'"},
        Wrong{{"run", "m", "-cpk", "f16"}, "did you mean '-ctk'"},
        Wrong{{"run", "m", "--ctx-sze=9", "-p", "x"}, "did you mean '--ctx-size'"},
        Wrong{{"run", "m", "-p", "x", "-ctk", "bf61"}, "did you mean 'bf16'"},
        Wrong{{"run", "m", "-p", "x", "--samplers", "top_k;tpo_p"}, "did you mean 'top_p'"},
        Wrong{{"run", "m", "-p", "x", "-fa", "off"}, "no other attention"},
        Wrong{{"run", "m", "-p", "x", "--top-p", "1.5"}, "top-p is 1.5"},
        Wrong{{"run", "m", "-p", "x", "-t", "many"}, "--threads"},
        Wrong{{"run", "m", "-p", "x", "-t", "513"}, "512"},
        Wrong{{"bench", "-m", "m", "-t", "513"}, "512"}, Wrong{{"doctor", "-t", "513"}, "512"},
        Wrong{{"kl", "-m", "m", "--text", "t", "-t", "513"}, "512"},
        Wrong{{"run", "m", "-p", "x", "-c", "-5"}, "--ctx-size"},
        Wrong{{"run", "m", "-p", "x", "-ub", "8193"}, "8192"},
        Wrong{{"run", "m", "-p", "x", "-ub", "0"}, "8192"},
        Wrong{{"run", "m", "-p", "x", "-o", "jsno"}, "did you mean 'json'"},
        Wrong{{"run", "m", "-p", "x", "--expect", "y"}, "--compare"},
        Wrong{{"run", "m", "-p", "x", "--raw", "--system", "y"}, "--system has no place"},
        Wrong{{"run", "m", "-p", "x", "y"}, "both prompts"},
        Wrong{{"run", "m", "-p", "x", "--keep", "4"}, "never drops tokens"},
        Wrong{{"run", "-m", "m", "one", "two"}, "unexpected argument 'two'"},
        Wrong{{"run"}, "no model"}, Wrong{{"run", "m"}, "no prompt"}, Wrong{{"pull"}, "NAME"},
        Wrong{{"ls", "extra"}, "unexpected argument 'extra'"},
        Wrong{{"bench", "-m", "m", "-d", "1,,2"}, "--n-depth: '1,,2' has an empty"},
        Wrong{{"bench", "-m", "m", "-p", "1,2,"}, "--n-prompt: '1,2,' has an empty"},
        Wrong{{"bench", "-m", "m", "-p", "1k"}, "'1k' is not a whole number"},
        Wrong{{"bench", "-m", "m", "-n", "99999999999999999999"}, "too large"},
        Wrong{{"bench", "kernels", "--formats", "f32,bf17"}, "did you mean 'bf16'"},
        Wrong{{"bench", "kernels", "--lengths", "3"}, "64 (one page)"},
        Wrong{{"bench", "kernels", "--head-sizes", "33"}, "multiple of 32"},
        Wrong{{"bench", "linears", "--types", "q4_0,q4k"}, "did you mean 'q4_k'"},
        Wrong{{"bench", "linears", "--sizes", "576"}, "INPUTSxOUTPUTS"},
        Wrong{{"bench", "linears", "--sizes", "64x"}, "'' is not a whole number"},
        Wrong{{"bench", "linears", "--sizes", "33x64"}, "a multiple of 32"},
        Wrong{{"bench", "linears", "--rows", "0"}, "1 to 65536"},
        Wrong{{"bench", "linears", "--types", "q4_k", "--sizes", "288x64"}, "blocks of 256"},
        Wrong{{"show", "-m", "m", "-v"}, "add --weights"},
        Wrong{{"bench", "-m", "m", "--baseline", "foo"}, "flash=on|off"},
        Wrong{{"bench", "-m", "m", "-r", "-1"}, "--repeat"},
        Wrong{{"bench", "-m", "m", "-p", "0", "-n", "0"}, "no test"},
        Wrong{{"kl", "-m", "m", "--text", "t", "-c", "0"}, "--ctx-size"},
        Wrong{{"-x"}, "heed run -x"}));

TEST(usage, a_result_that_cannot_be_written_is_a_failure) {
  for (const std::string words : {"--version", "ls", "ls -o json", "run --help", "doctor --help"}) {
    const std::string command = std::string(HEED_BINARY) + " " + words + " >/dev/full 2>/dev/null";
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << words << ": " << status;
  }
}

TEST(usage, a_wrong_value_of_the_environment_is_named_and_does_not_matter_where_one_is_typed) {
  Process::Options options;
  options.env = {{"HEED_OUTPUT", "jsonl"}};
  const Finished wrong = heed({"ls"}, options);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("HEED_OUTPUT"), std::string::npos) << wrong.err;
  EXPECT_NE(wrong.err.find("'jsonl'"), std::string::npos) << wrong.err;
  EXPECT_EQ(heed({"ls", "-o", "json"}, options).code, 0);
  EXPECT_EQ(heed({"--version"}, options).code, 0);
  const Finished typed = heed({"ls", "-o", "jsonl"});
  EXPECT_EQ(typed.code, 2);
  EXPECT_EQ(typed.err.find("HEED_OUTPUT"), std::string::npos) << typed.err;
}

TEST(usage, an_option_value_may_look_like_an_option) {
  const Finished f = heed({"run", "/nonexistent.gguf", "-p", "--tmep", "--offline"});
  EXPECT_EQ(f.code, 1) << f.err;
  EXPECT_EQ(f.err.find("unknown option"), std::string::npos) << f.err;
}

TEST(usage, every_verb_has_help_with_examples) {
  for (const char* verb :
       {"run", "pull", "ls", "rm", "show", "bench", "kl", "mechanisms", "explain", "doctor", "completion", "man"}) {
    const Finished a = heed({"help", verb});
    const Finished b = heed({verb, "--help"});
    EXPECT_EQ(a.code, 0);
    EXPECT_EQ(a.out, b.out);
    EXPECT_NE(a.out.find("Examples:"), std::string::npos) << verb;
    EXPECT_EQ(a.err, "");
  }
}

TEST(usage, no_verb_prints_the_help_and_is_wrong) {
  const Finished f = heed({});
  EXPECT_EQ(f.code, 2);
  EXPECT_NE(f.err.find("Usage: heed VERB"), std::string::npos);
}

TEST(usage, version_and_help_are_results) {
  EXPECT_EQ(heed({"--version"}).out.substr(0, 5), "heed ");
  const Finished f = heed({"--help"});
  EXPECT_EQ(f.code, 0);
  for (const char* verb :
       {"run", "pull", "ls", "rm", "show", "bench", "kl", "mechanisms", "explain", "doctor", "completion", "man"}) {
    EXPECT_NE(f.out.find(verb), std::string::npos);
  }
  EXPECT_NE(f.out.find("0 done, 1 failed, 2 wrong usage, 130 interrupted"), std::string::npos);
}

TEST(usage, an_environment_variable_stands_for_an_option_and_the_command_line_wins) {
  Process::Options options;
  options.env = {{"HEED_CACHE_TYPE_K", "f61"}};
  const std::vector<std::string> line = {"run", "/nonexistent.gguf", "-p", "x", "--offline"};
  EXPECT_EQ(heed(line, options).code, 2);
  std::vector<std::string> with = line;
  with.insert(with.end(), {"-ctk", "f16"});
  EXPECT_EQ(heed(with, options).code, 1);
}

}  // namespace
}  // namespace heed::test
