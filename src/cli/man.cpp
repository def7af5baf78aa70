// heed man: the page heed(1), made from the same tables as --help.
#include <fmt/format.h>

#include <cstdio>

#include "cli/completion.h"
#include "cli/option_table.h"
#include "cli/parse.h"
#include "heed/version.h"

namespace heed::cli {
namespace {

// Text for man(7): a backslash and a dash mean themselves, and no line is a request.
std::string roff(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }

// "-m, --model MODEL".
std::string tag(const OptionRow& row) {
  if (row.positional) return fmt::format("\\fI{}\\fR", roff(row.names.front()));
  std::vector<std::string> names;
  for (const std::string& name : row.names) names.push_back(bold(name));
  std::string out = joined(names, ", ");
  if (row.value.empty()) return out;
  if (row.words.empty()) return fmt::format("{} \\fI{}\\fR", out, roff(row.value));
  return fmt::format("{} {}{}", out, roff(joined(row.words, "|")), row.list ? ",..." : "");
}

// What --help says in brackets, as a sentence.
std::string facts(const OptionRow& row) {
  std::vector<std::string> all;
  if (row.positional && !row.words.empty()) all.push_back(joined(row.words, ", "));
  if (row.required) all.emplace_back("required");
  if (row.repeated) all.emplace_back("may be repeated");
  if (!row.limits.empty()) all.push_back(row.limits);
  if (!row.standard.empty()) all.push_back("default " + row.standard);
  if (!row.variable.empty()) all.push_back("variable " + row.variable);
  return all.empty() ? "" : fmt::format(" ({})", joined(all, "; "));
}

std::string verb_section(const VerbRow& verb) {
  std::string synopsis, options;
  for (const OptionRow& row : verb.options) {
    options += fmt::format(".TP\n{}\n{}{}\n", tag(row), roff(row.text), roff(facts(row)));
    if (row.positional) {
      const std::string word = fmt::format("\\fI{}\\fR", row.names.front());
      synopsis += row.required ? " " + word : fmt::format(" [{}]", word);
    }
  }
  return fmt::format(".SS heed {0}\n{1}.\n.PP\n{2} [\\fIOPTIONS\\fR]{3}\n{4}.PP\n.EX\n{5}.EE\n",
                     verb.name, roff(verb.summary), bold("heed " + verb.name), synopsis, options,
                     roff(verb.examples));
}

constexpr const char* kHead = R"(.SH NAME
heed \- attention on CPUs: run, measure and compare language models
.SH SYNOPSIS
.B heed
.I VERB
.RI [ OPTIONS ]
.br
.B heed help
.I VERB
.br
.B heed \-\-version
.SH DESCRIPTION
.B heed
answers prompts with a model in a GGUF file on an ordinary CPU, measures how fast and how exactly it
does so, and says what it cost.
Results go to standard output, everything else to standard error.
.SH VERBS
)";

constexpr const char* kTail = R"(.SH ENVIRONMENT
Every option that names a variable is read from it where the command line does not give the option.
.TP
.B HEED_HOME
Where models live; default ~/.cache/heed.
.TP
.B HEED_ISA
Forces an instruction set: scalar, avx2, avx512, avx512_vnni or avx512_bf16.
.TP
.B OLLAMA_MODELS
Ollama's store, for models named ollama:NAME.
.TP
.B HF_ENDPOINT\fR, \fBHF_TOKEN
Another server for Hugging Face's models, and the token it wants.
.TP
.B NO_COLOR
Any value: no colours.
.SH EXIT STATUS
0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl\-C.
)";

class ManVerb final : public Verb {
 public:
  const char* name() const override { return "man"; }
  const char* summary() const override { return "Print the manual page, in man(7)"; }
  const char* examples() const override { return "  heed man | man -l -\n"; }
  void options(CLI::App&) override {}

  int run() override {
    // No date: the page is as old as the version that prints it.
    std::string page =
        fmt::format(".TH HEED 1 \"\" \"heed {}\" \"User commands\"\n.ad l\n.nh\n", version());
    page += kHead;
    for (const VerbRow& verb : option_table()) page += verb_section(verb);
    page += kTail;
    std::fwrite(page.data(), 1, page.size(), stdout);
    return kDone;
  }
};

}  // namespace

std::unique_ptr<Verb> make_man() { return std::make_unique<ManVerb>(); }

}  // namespace heed::cli
