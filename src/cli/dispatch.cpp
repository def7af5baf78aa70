// `heed VERB ...`: choosing the verb, --version and help.
#include <fmt/format.h>

#include <cstdio>

#include "base/nearest.h"
#include "cli/parse.h"
#include "cli/terminal.h"
#include "heed/version.h"

namespace heed::cli {
namespace {

void print_help(std::FILE* to) {
  fmt::print(to,
             "heed runs attention: on a model file, on an ordinary CPU, and says what it cost.\n\n"
             "Usage: heed VERB [OPTIONS]\n\nVerbs:\n");
  for (const auto& verb : all_verbs())
    fmt::print(to, "  {:<10} {}\n", verb->name(), verb->summary());
  fmt::print(to,
             "\n  help VERB            options and examples of a verb\n"
             "  --version            version\n\n"
             "Every option is also an environment variable: --top-k is HEED_TOP_K.\n"
             "HEED_HOME is where models live, HEED_ISA forces an instruction set.\n"
             "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C.\n\n"
             "Examples:\n"
             "  heed run smollm2:135m \"Why is the sky blue?\"\n"
             "  heed run smollm2:135m -f report.txt -p \"Who signed the contract?\"\n"
             "  heed doctor\n");
}

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const auto& verb : all_verbs()) names.emplace_back(verb->name());
  names.insert(names.end(), {"help", "--version", "--help"});
  return names;
}

int run_verb(const std::string& name, std::vector<std::string> arguments) {
  for (auto& verb : all_verbs()) {
    if (name != verb->name() && name != verb->alias()) continue;
    CLI::App app;
    if (const auto code = parse(*verb, app, std::move(arguments))) return *code;
    return verb->run();
  }
  const std::string near = nearest_name(name, verb_names());
  const std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
  return usage_error("", fmt::format("unknown verb '{}'{}", name, hint));
}

}  // namespace

std::vector<std::unique_ptr<Verb>> all_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  verbs.push_back(make_run());
  verbs.push_back(make_embed());
  verbs.push_back(make_chat());
  verbs.push_back(make_pull());
  verbs.push_back(make_ls());
  verbs.push_back(make_rm());
  verbs.push_back(make_show());
  verbs.push_back(make_bench());
  verbs.push_back(make_kl());
  verbs.push_back(make_perplexity());
  verbs.push_back(make_mechanisms());
  verbs.push_back(make_explain());
  verbs.push_back(make_doctor());
  verbs.push_back(make_completion());
  verbs.push_back(make_man());
  return verbs;
}

int main_with(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    print_help(stderr);
    return kUsage;
  }
  const std::string& first = arguments.front();
  std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (first == "--version" || first == "version") {
    fmt::print("heed {}\n", version());
    return kDone;
  }
  if (first == "help" || first == "--help" || first == "-h") {
    if (!rest.empty()) return run_verb(rest.front(), {"--help"});
    print_help(stdout);
    return kDone;
  }
  if (first[0] == '-') {
    const std::string near = nearest_name(first, verb_names());
    if (!near.empty()) {
      return usage_error("", fmt::format("unknown option '{}'; did you mean '{}'?", first, near));
    }
    return usage_error(
        "",
        fmt::format("'{}' stands where a verb belongs; did you mean 'heed run {}'?", first, first));
  }
  return run_verb(first, std::move(rest));
}

}  // namespace heed::cli
