// The man page and the completion scripts tell every option of every verb, and what they tell works
// in the shells that read it.
#include "cli/option_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/verb.h"
#include "process.h"

namespace heed::test {
namespace {

bool has_program(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

// Words that CLI11 itself knows for a verb: what the tables must not have lost.
struct Known {
  std::string verb;
  std::vector<std::string> options;  // "--top-k", "-n"
};

std::vector<Known> known_options() {
  std::vector<Known> all;
  for (const auto& verb : cli::all_verbs()) {
    CLI::App app;
    verb->options(app);
    Known known{verb->name(), {}};
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) known.options.push_back("--" + name);
      for (const std::string& name : option->get_snames()) known.options.push_back("-" + name);
    }
    all.push_back(known);
  }
  return all;
}

std::string result(const std::vector<std::string>& arguments) {
  const Finished f = heed(arguments);
  EXPECT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.err, "");
  return f.out;
}

// From the line `from` to the next one that begins with `to`.
std::string part(const std::string& text, const std::string& from, const std::string& to) {
  const size_t begin = text.find(from);
  EXPECT_NE(begin, std::string::npos) << from;
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find(to, begin + from.size()) - begin);
}

// A script kept in a folder of its own.
class Script {
 public:
  explicit Script(const std::string& shell) : path_(folder_.path() + "/heed." + shell) {
    std::ofstream(path_) << result({"completion", shell});
  }
  // Lines that `command` prints, sorted.
  std::vector<std::string> lines_of(const std::string& command) const {
    const std::string out = folder_.path() + "/out";
    EXPECT_EQ(std::system((command + " >" + out).c_str()), 0) << command;
    std::vector<std::string> lines;
    std::istringstream text(file_text(out));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  const std::string& path() const { return path_; }
  const std::string& folder() const { return folder_.path(); }

 private:
  EmptyHome folder_;
  std::string path_;
};

using Words = std::vector<std::string>;

// What bash offers when Tab is pressed behind `line`; bash hands the function just these variables.
Words bash_offers(const Script& script, const std::string& line) {
  const std::string driver = script.folder() + "/driver.bash";
  std::ofstream(driver) << "source " << script.path() << "\nexport HEED_HOME=" << script.folder()
                        << "\nCOMP_LINE='" << line << "'; COMP_POINT=${#COMP_LINE}\n"
                        << "_heed " << HEED_BINARY << "\n"
                        << "((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"\ntrue\n";
  return script.lines_of("bash --norc " + driver);
}

TEST(option_table, the_man_page_has_every_option_of_every_verb_with_its_text) {
  const std::string page = result({"man"});
  for (const cli::VerbRow& verb : cli::option_table()) {
    const std::string section = part(page, ".SS heed " + verb.name + "\n", "\n.S");
    for (const cli::OptionRow& row : verb.options) {
      EXPECT_FALSE(row.text.empty()) << verb.name << " " << row.names.front();
    }
    for (const Known& known : known_options()) {
      if (known.verb != verb.name) continue;
      for (std::string name : known.options) {
        for (size_t at = 0; (at = name.find('-', at)) != std::string::npos; at += 2) {
          name.insert(at, "\\");
        }
        EXPECT_NE(section.find("\\fB" + name + "\\fR"), std::string::npos) << verb.name << name;
      }
    }
  }
  EXPECT_NE(page.find("\\fB\\-ctk\\fR, \\fB\\-\\-cache\\-type\\-k\\fR f32|f16|bf16\n"),
            std::string::npos);
  EXPECT_NE(page.find("default 40; variable HEED_TOP_K"), std::string::npos);
}

TEST(option_table, the_man_page_is_one_that_readers_accept) {
  EmptyHome folder;
  const std::string path = folder.path() + "/heed.1";
  std::ofstream(path) << result({"man"});
  if (!has_program("mandoc") && !has_program("groff")) GTEST_SKIP() << "no mandoc, no groff";
  if (has_program("mandoc")) {
    // Without a date on purpose: only that is reported.
    const std::string command = "mandoc -Tlint -Wwarning " + path + " >" + folder.path() + "/all";
    EXPECT_NE(std::system(command.c_str()), -1);
    EXPECT_EQ(std::system(
                  ("grep -v 'missing date' " + folder.path() + "/all >" + folder.path() + "/faults")
                      .c_str()),
              1 << 8);
    EXPECT_EQ(file_text(folder.path() + "/faults"), "");
  }
  if (has_program("groff")) {
    const std::string faults = folder.path() + "/groff";
    ASSERT_EQ(
        std::system(("groff -ww -Wbreak -man -Tascii " + path + " >/dev/null 2>" + faults).c_str()),
        0);
    EXPECT_EQ(file_text(faults), "");
  }
}

TEST(option_table, bash_completes_verbs_options_words_lists_and_models) {
  const Script script("bash");
  for (const Known& known : known_options()) {
    EXPECT_EQ(bash_offers(script, "heed " + known.verb), Words{known.verb});
    const Words offered = bash_offers(script, "heed " + known.verb + " -");
    for (const std::string& name : known.options) {
      EXPECT_TRUE(std::binary_search(offered.begin(), offered.end(), name))
          << known.verb << " " << name;
    }
  }
  EXPECT_EQ(bash_offers(script, "heed run --cache-type"),
            (Words{"--cache-type-k", "--cache-type-v"}));
  EXPECT_EQ(bash_offers(script, "heed run -ctk b"), Words{"bf16"});
  EXPECT_EQ(bash_offers(script, "heed run --output=j"), Words{"json"});
  EXPECT_EQ(bash_offers(script, "heed bench --formats f32,b"), Words{"f32,bf16"});
  EXPECT_EQ(bash_offers(script, "heed help ru"), Words{"run"});
  EXPECT_EQ(bash_offers(script, "heed completion "), (Words{"bash", "fish", "zsh"}));
  // Behind the last colon, because there bash begins the word that it replaces.
  EXPECT_EQ(bash_offers(script, "heed run smollm2:1"), Words{"135m"});
  EXPECT_EQ(bash_offers(script, "heed show -m gemma3"), Words{"gemma3:270m"});
  EXPECT_EQ(bash_offers(script, "heed run -m m -f "), Words{});  // files, which bash does itself
}

TEST(option_table, zsh_accepts_its_script) {
  const Script script("zsh");
  const std::string text = file_text(script.path());
  for (const Known& known : known_options()) {
    const std::string lines = part(text, "\n    " + known.verb + ")\n", ";;");
    for (const std::string& name : known.options) {
      EXPECT_TRUE(lines.find(")" + name) != std::string::npos ||
                  lines.find("*" + name) != std::string::npos)
          << known.verb << " " << name;
    }
  }
  if (!has_program("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(script.lines_of("zsh -f -c 'autoload -U compinit; compinit -u -D; source " +
                            script.path() + "; print ${_comps[heed]}'"),
            Words{"_heed"});
}

TEST(option_table, fish_completes_with_its_script) {
  const Script script("fish");
  const std::string text = file_text(script.path());
  for (const Known& known : known_options()) {
    const std::string lines = part(text, "'__heed_verb " + known.verb + "'", "__heed_no_verb");
    for (const std::string& name : known.options) {
      const std::string flag = name[1] == '-' ? " -l " + name.substr(2) : " -s " + name.substr(1);
      EXPECT_NE((lines + " ").find(flag + " "), std::string::npos) << known.verb << " " << name;
    }
  }
  if (!has_program("fish")) GTEST_SKIP() << "fish is not installed";
  const auto offers = [&script](const std::string& line) {
    return script.lines_of("HOME=" + script.folder() + " fish --no-config -c 'function heed; " +
                           HEED_BINARY + " $argv; end; source " + script.path() +
                           "; complete -C \"" + line + "\"' | cut -f1");
  };
  EXPECT_EQ(offers("heed run --cache-type"), (Words{"--cache-type-k", "--cache-type-v"}));
  EXPECT_EQ(offers("heed run -ctk b"), Words{"bf16"});
  EXPECT_EQ(offers("heed bench --formats f32,b"), Words{"f32,bf16"});
  EXPECT_EQ(offers("heed show -m gemma3"), Words{"gemma3:270m"});
  EXPECT_EQ(offers("heed completion z"), Words{"zsh"});
}

}  // namespace
}  // namespace heed::test
