#include <fmt/format.h>

#include "cli/completion.h"

namespace heed::cli {
namespace {

// Sets `options`, `words`, `list` and `models` for a verb and the word before the cursor.
std::string verb_case(const VerbRow& verb) {
  std::string values;
  std::vector<std::string> options, rest, silent;
  bool models = false;
  for (const OptionRow& row : verb.options) {
    if (row.positional) {
      rest.insert(rest.end(), row.words.begin(), row.words.end());
      models |= row.takes_model();
      continue;
    }
    options.insert(options.end(), row.names.begin(), row.names.end());
    if (row.takes_model()) {
      values += fmt::format("        {}) models=1 ;;\n", joined(row.names, "|"));
    } else if (!row.words.empty()) {
      values += fmt::format("        {}) words={}{} ;;\n", joined(row.names, "|"),
                            single_quoted(joined(row.words)), row.list ? " list=1" : "");
    } else if (!row.value.empty()) {
      silent.insert(silent.end(), row.names.begin(), row.names.end());
    }
  }
  if (!silent.empty()) values += fmt::format("        {}) return ;;\n", joined(silent, "|"));
  return fmt::format(
      "    {})\n      case $previous in\n{}"
      "        *) options={} words={}{} ;;\n      esac ;;\n",
      verb.name, values, single_quoted(joined(options)), single_quoted(joined(rest)),
      models ? " models=1" : "");
}

constexpr const char* kHead = R"sh(# bash completion of heed: source <(heed completion bash)
_heed() {
  COMPREPLY=()
  # Bash cuts words at : and = too, which models and --option=value contain; so the line is cut
  # here. What nothing below answers is a file's name (-o default).
  local line=${COMP_LINE:0:COMP_POINT} options= words= list= models= i name
  local -a typed
  read -ra typed <<<"$line"
  [[ $line == *[[:blank:]] ]] && typed+=("")
  local count=${#typed[@]}
  local whole=${typed[count-1]} previous=${typed[count-2]}
  local word=$whole
  if [[ $word == --*=* ]]; then
    previous=${word%%=*} word=${word#*=}
  fi
)sh";

constexpr const char* kTail = R"sh(  if [[ -n $options && $word == -* ]]; then
    words=$options models=
  fi
  local IFS=$' \t\n' before=
  [[ -n $list ]] && before=${word%"${word##*,}"}
  COMPREPLY=($(compgen -P "$before" -W "$words" -- "${word#"$before"}"))
  if [[ -n $models ]]; then
    while read -r name; do
      [[ $name == "$word"* && $name != *[[:blank:]]* ]] && COMPREPLY+=("$name")
    done < <("$1" ls -o names 2>/dev/null)
  fi
  # Bash replaces what is behind its own last cut.
  local head=${whole%"$word"} cut=
  for i in = :; do
    if [[ $COMP_WORDBREAKS == *$i* && $whole == *$i* ]]; then
      name=${whole%"${whole##*$i}"}
      (( ${#name} > ${#cut} )) && cut=$name
    fi
  done
  for i in "${!COMPREPLY[@]}"; do
    name=$head${COMPREPLY[i]}
    COMPREPLY[i]=${name#"$cut"}
  done
}
complete -o default -F _heed heed
)sh";

}  // namespace

std::string bash_completion(const std::vector<VerbRow>& table) {
  std::string cases;
  std::vector<std::string> verbs;
  for (const VerbRow& verb : table) {
    verbs.push_back(verb.name);
    cases += verb_case(verb);
  }
  return fmt::format(
      "{}  case $((count == 2)):${{typed[1]}} in\n    1:*) words={} ;;\n"
      "    0:help) words={} ;;\n  esac\n  (( count > 2 )) && case ${{typed[1]}} in\n{}  esac\n{}",
      kHead, single_quoted(joined(verbs) + " help --help --version"), single_quoted(joined(verbs)),
      cases, kTail);
}

}  // namespace heed::cli
