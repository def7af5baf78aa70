#include <fmt/format.h>

#include "cli/completion.h"

namespace heed::cli {
namespace {

// Text inside a specification of _arguments, where : and brackets part it.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// ":PLACEHOLDER:what completes it".
std::string value_of(const OptionRow& row) {
  std::string action;
  if (row.takes_model()) {
    action = "_heed_models";
  } else if (row.takes_file()) {
    action = "_files";
  } else if (row.list && !row.words.empty()) {
    action = fmt::format("_sequence compadd - {}", joined(row.words));
  } else if (!row.words.empty()) {
    action = fmt::format("({})", joined(row.words));
  }
  return fmt::format(":{}:{}", escaped(row.value), action);
}

// -x takes its value attached or behind a blank, --long behind = or a blank, -xyz behind a blank.
std::string named(const std::string& name, bool value) {
  if (!value) return name;
  if (name.starts_with("--")) return name + "=";
  return name.size() == 2 ? name + "+" : name;
}

std::string option_lines(const OptionRow& row) {
  if (row.positional) {
    return fmt::format("        {} \\\n", single_quoted((row.repeated ? "*" : "") + value_of(row)));
  }
  const bool value = !row.value.empty();
  const std::string others = row.repeated ? "*" : fmt::format("({})", joined(row.names));
  std::string out;
  for (const std::string& name : row.names) {
    out += fmt::format("        {} \\\n",
                       single_quoted(fmt::format("{}{}[{}]{}", others, named(name, value),
                                                 escaped(row.text), value ? value_of(row) : "")));
  }
  return out;
}

constexpr const char* kHead = R"sh(#compdef heed
# zsh completion of heed: source <(heed completion zsh), or keep it as _heed in a folder of $fpath.
_heed_models() {
  local -a names
  names=(${(f)"$(${~heed_command} ls -o names 2>/dev/null)"})
  compadd -a names
  _files
}
_heed() {
  local heed_command=$words[1]
  local -a verbs
)sh";

constexpr const char* kTail = R"sh(  esac
}
if [[ $funcstack[1] == _heed ]]; then
  _heed "$@"
else
  compdef _heed heed
fi
)sh";

}  // namespace

std::string zsh_completion(const std::vector<VerbRow>& table) {
  std::string verbs, cases;
  for (const VerbRow& verb : table) {
    verbs += fmt::format("    {}\n", single_quoted(verb.name + ":" + escaped(verb.summary)));
    std::string lines;
    for (const OptionRow& row : verb.options) lines += option_lines(row);
    lines.resize(lines.size() - 3);  // the last line does not go on
    cases += fmt::format("    {})\n      _arguments \\\n{} ;;\n", verb.name, lines);
  }
  return fmt::format(
      "{}  verbs=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe verb verbs\n    compadd help --help --version\n    return\n  fi\n"
      "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n"
      "  case $verb in\n    help) _describe verb verbs ;;\n{}{}",
      kHead, verbs, cases, kTail);
}

}  // namespace heed::cli
