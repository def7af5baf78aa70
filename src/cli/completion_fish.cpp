#include <fmt/format.h>

#include "cli/completion.h"

namespace heed::cli {
namespace {

// In fish a quote inside single quotes has a backslash before it, and so has a backslash.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

// -s of one letter, -o of more, -l behind two dashes.
std::string named(const std::string& name) {
  if (name.starts_with("--")) return " -l " + name.substr(2);
  return (name.size() == 2 ? " -s " : " -o ") + name.substr(1);
}

// -x: its values are all there is; -r: a value, and files are offered too.
std::string values_of(const OptionRow& row) {
  if (row.takes_model()) return " -r -a '(__heed_models)'";
  if (row.words.empty()) return row.takes_file() ? " -r -F" : row.value.empty() ? " -f" : " -r";
  if (row.list) {
    return fmt::format(
        " -x -a {}",
        fish_quoted(fmt::format("(__fish_complete_list , '__heed_each {}')", joined(row.words))));
  }
  return fmt::format(" -x -a {}", fish_quoted(joined(row.words)));
}

std::string option_line(const std::string& verb, const OptionRow& row) {
  const std::string head = fmt::format("complete -c heed -n '__heed_verb {}'", verb);
  if (row.positional) {
    if (row.takes_model()) return head + " -a '(__heed_models)'\n";
    return row.words.empty() ? "" : fmt::format("{} -a {}\n", head, fish_quoted(joined(row.words)));
  }
  std::string names;
  for (const std::string& name : row.names) names += named(name);
  return fmt::format("{}{}{} -d {}\n", head, names, values_of(row), fish_quoted(row.text));
}

constexpr const char* kHead =
    R"sh(# fish completion of heed: heed completion fish > ~/.config/fish/completions/heed.fish
function __heed_verb
    set -l typed (commandline -opc)
    test (count $typed) -gt 1; and test "$typed[2]" = "$argv[1]"
end
function __heed_no_verb
    test (count (commandline -opc)) -eq 1
end
function __heed_models
    set -l typed (commandline -opc)
    $typed[1] ls -o names 2>/dev/null
end
function __heed_each
    printf '%s\n' $argv
end
)sh";

}  // namespace

std::string fish_completion(const std::vector<VerbRow>& table) {
  std::string out = kHead;
  std::vector<std::string> verbs;
  for (const VerbRow& verb : table) {
    verbs.push_back(verb.name);
    out += fmt::format("complete -c heed -n __heed_no_verb -f -a {} -d {}\n", verb.name,
                       fish_quoted(verb.summary));
    for (const OptionRow& row : verb.options) out += option_line(verb.name, row);
  }
  out += fmt::format(
      "complete -c heed -n __heed_no_verb -f -a help -d {}\n"
      "complete -c heed -n __heed_no_verb -f -l help -s h\n"
      "complete -c heed -n __heed_no_verb -f -l version\n"
      "complete -c heed -n '__heed_verb help' -f -a {}\n",
      fish_quoted(kHelpSummary), fish_quoted(joined(verbs)));
  return out;
}

}  // namespace heed::cli
