#include "cli/mechanism_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/completion.h"
#include "heed/policy.h"
#include "policy/rules.h"

namespace heed::cli {
namespace {

constexpr size_t kWidth = 88;

// Words in lines of kWidth, each behind `indent` spaces.
std::string wrapped(std::string_view text, size_t indent) {
  std::string out, line(indent, ' ');
  bool fresh = true;
  for (const std::string_view word : words_in(text)) {
    if (!fresh && line.size() + 1 + word.size() > kWidth) {
      out += line + '\n';
      line.assign(indent, ' ');
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += word;
    fresh = false;
  }
  return out + line + '\n';
}

// Lines of a text, each behind `indent` spaces.
std::string indented(std::string_view text, size_t indent) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out += std::string(indent, ' ').append(text.substr(0, end)) + '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string joined_views(const std::vector<std::string_view>& words) {
  return joined(std::vector<std::string>(words.begin(), words.end()), ", ");
}

// "a whole number from 1 to 64, tokens".
std::string range_text(const Parameter& p) {
  return p.unit.empty() ? valid_values(p) : fmt::format("{}, {}", valid_values(p), p.unit);
}

std::string standard_text(const Parameter& p) {
  if (!p.standard.empty()) return std::string(p.standard);
  return p.optional ? "none" : "must be given";
}

std::string also(std::string_view aliases) {
  return aliases.empty() ? "" : fmt::format(" (also {})", joined_views(words_in(aliases)));
}

std::string needs_text(const Mechanism& m) {
  return m.without.empty() ? needs_name(m.needs)
                           : fmt::format("{}; without it {}", needs_name(m.needs), m.without);
}

const char* awareness(const Mechanism& m) {
  return m.query_aware ? "query-aware: rows depend on what later rows of their chunk ask for"
                       : "query-agnostic";
}

std::string chunks_text(const Mechanism& m) {
  const char* name = invariance_name(m.invariance);
  return m.row_block > 0 ? fmt::format("{}, blocks of {} rows", name, m.row_block) : name;
}

// The facts in which rows differ, in the order of both forms.
std::vector<std::pair<const char*, std::string>> facts_of(const Mechanism& m) {
  const auto capabilities = capability_names(m.capabilities);
  return {{"needs", needs_text(m)},
          {"chunks", chunks_text(m)},
          {"queries", awareness(m)},
          {"capabilities", capabilities.empty() ? "none" : joined_views(capabilities)},
          {"paper", std::string(m.paper)},
          {"revision", fmt::format("{}", m.revision)}};
}

std::string usage(const Mechanism& m) {
  if (m.stage == Stage::kKv) return fmt::format("kv=k:{0},v:{0}", m.name);
  return fmt::format("{}={}", stage_name(m.stage), m.name);
}

// "`n_init`" for markdown; pipes would end a cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string section(const Mechanism& m) {
  std::string out = fmt::format("\n### {}\n\n{}{}. `{}`\n\n{}\n\n```\n{}\n```\n", m.name, m.summary,
                                also(m.aliases), usage(m), m.idea, m.formula);
  if (!m.parameters.empty()) {
    out += "\n| parameter | default | valid | |\n|---|---|---|---|\n";
    for (const Parameter& p : m.parameters) {
      const char* first = p.name == m.positional ? "; may stand first without its name" : "";
      out += fmt::format("| `{}` | {} | {} | {}{}{} |\n", p.name, cell(standard_text(p)),
                         cell(range_text(p)), cell(p.help), cell(also(p.aliases)), first);
    }
  }
  out += fmt::format("\nCost:\n```\n{}\n```\n\n", m.cost);
  for (const auto& [name, text] : facts_of(m)) out += fmt::format("- {}: {}\n", name, text);
  return out;
}

}  // namespace

std::string mechanism_table() {
  size_t width = 0;
  for (const Mechanism* m : mechanisms()) width = std::max(width, m->name.size());
  std::string out;
  int stage = -1;
  for (const Mechanism* m : mechanisms()) {
    if (static_cast<int>(m->stage) != stage) {
      out += fmt::format("{}{}: {}\n", out.empty() ? "" : "\n", stage_name(m->stage),
                         stage_about(m->stage));
      stage = static_cast<int>(m->stage);
    }
    out += fmt::format("  {:<{}}  {}\n", m->name, width, m->summary);
  }
  out += "\npresets\n";
  for (const Preset& p : presets()) out += fmt::format("  {:<{}}  {}\n", p.name, width, p.about);
  return out + "\nheed mechanisms NAME tells one in full, heed explain POLICY what it does.\n";
}

std::string mechanism_text(const Mechanism& m) {
  std::string out =
      fmt::format("{}\n{}{}\n\n{}\n", usage(m), m.summary, also(m.aliases), wrapped(m.idea, 2));
  out += fmt::format("formula\n{}", indented(m.formula, 2));
  if (!m.parameters.empty()) {
    out += "\nparameters\n";
    size_t width = 0;
    for (const Parameter& p : m.parameters) width = std::max(width, p.name.size());
    for (const Parameter& p : m.parameters) {
      const char* first = p.name == m.positional ? "; may stand first without its name" : "";
      out += fmt::format("  {:<{}}  {}; {}{}\n", p.name, width, standard_text(p), range_text(p),
                         first);
      out += wrapped(fmt::format("{}{}", p.help, also(p.aliases)), width + 4);
    }
  }
  out += fmt::format("\ncost\n{}\n", indented(m.cost, 2));
  for (const auto& [name, text] : facts_of(m)) {
    // The first line's name stands in the indent.
    std::string lines = wrapped(text, 14);
    out += lines.replace(0, std::string_view(name).size(), name);
  }
  return out;
}

std::string mechanisms_markdown() {
  std::string out =
      "# Mechanisms\n\n"
      "What a policy may name, by stage: `heed run --prefill NAME:key=value`, or `--policy "
      "\"STAGE=NAME:key=value;...\"`, where `STAGE@L0-3=` and `STAGE@L12.H3=` are for some layers "
      "and heads. `heed explain` tells what a policy does to a model. `make mechanisms` writes "
      "this page from the registry; a test holds it to that.\n\n"
      "In formulas t is a row, j a key, p(t) the row's position; T rows, S keys, D the size of a "
      "head.\n";
  int stage = -1;
  for (const Mechanism* m : mechanisms()) {
    if (static_cast<int>(m->stage) != stage) {
      out += fmt::format("\n## {}\n\nDecides {}.\n", stage_name(m->stage), stage_about(m->stage));
      stage = static_cast<int>(m->stage);
    }
    out += section(*m);
  }
  out += "\n## Presets\n\n";
  for (const Preset& p : presets()) {
    out += fmt::format("- `{}`: {}{}\n", p.name, p.about,
                       p.text[0] == '\0' ? "" : fmt::format("; `{}`", p.text));
  }
  out +=
      "\n## Verdicts\n\nA policy is refused, or degraded, where one of these does not hold:\n\n"
      "| rule | | else |\n|---|---|---|\n";
  for (const Rule& rule : rules()) {
    out += fmt::format("| `{}` | {} | {} |\n", rule.name, rule.about, verdict_name(rule.verdict));
  }
  return out;
}

}  // namespace heed::cli
