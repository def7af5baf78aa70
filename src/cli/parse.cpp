#include "cli/parse.h"

#include <array>
#include <cctype>
#include <cstdlib>

#include "base/nearest.h"
#include "base/text.h"
#include "cli/terminal.h"
#include "model/threads.h"

namespace heed::cli {
namespace {

// CLI11 knows short options of one letter; these are llama.cpp's longer ones.
struct ShortName {
  const char* spelling;
  const char* option;
};
constexpr std::array kShortNames = {
    ShortName{"-ub", "--ubatch-size"},      ShortName{"-ctk", "--cache-type-k"},
    ShortName{"-ctv", "--cache-type-v"},    ShortName{"-fa", "--flash-attn"},
    ShortName{"-sys", "--system"},          ShortName{"--n-predict", "--predict"},
    ShortName{"-jf", "--json-schema-file"}, ShortName{"-np", "--parallel"},
    ShortName{"-md", "--model-draft"},      ShortName{"-cd", "--ctx-size-draft"},
};

const char* long_name_of(const CLI::App& app, const std::string& spelling) {
  for (const ShortName& s : kShortNames) {
    if (spelling == s.spelling && app.get_option_no_throw(s.option) != nullptr) return s.option;
  }
  return nullptr;
}

bool is_number(std::string_view text) {
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) != 0 ||
          ((text[0] == '-' || text[0] == '.') && text.size() > 1 && is_number(text.substr(1))));
}

bool is_switch_word(std::string_view word) {
  for (const char* known : {"on", "off", "auto", "true", "false", "1", "0"}) {
    if (word == known) return true;
  }
  return false;
}

std::string unknown(const CLI::App& app, const std::string& name) {
  const std::vector<std::string> known = spellings(app);
  std::string near = nearest_name(name, known);
  // `-temp` is one dash short of `--temp`.
  if (name.size() > 2 && name[1] != '-') {
    if (const std::string two = nearest_name(cat("-", name), known); !two.empty()) near = two;
  }
  return cat("unknown option '", name, "'",
             near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

// Rewrites llama.cpp's spellings into long options and finds options that do not exist. An error
// message, or empty.
std::string normalise(const CLI::App& app, std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string& word = arguments[i];
    if (word == "--") return {};
    if (word.size() < 2 || word[0] != '-' || is_number(word)) continue;
    if (const char* option = long_name_of(app, word)) word = option;
    if (word == "--flash-attn") {
      // llama.cpp takes it with and without a value.
      const bool has_value = i + 1 < arguments.size() && is_switch_word(arguments[i + 1]);
      word += '=';
      word += has_value ? arguments[i + 1] : std::string("on");
      if (has_value) arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      continue;
    }
    const bool is_long = word[1] == '-';
    const size_t equals = is_long ? word.find('=') : std::string::npos;
    const std::string name = word.substr(0, is_long ? equals : 2);
    const CLI::Option* option = app.get_option_no_throw(name);
    const bool attached = is_long ? equals != std::string::npos : word.size() > 2;
    if (option == nullptr || (!is_long && attached && !is_number(word.substr(2)))) {
      return unknown(app, is_long ? name : word);
    }
    if (!attached && option->get_items_expected_min() > 0)
      ++i;  // its value, whatever it looks like
  }
  return {};
}

// Whether the words set the option themselves; a variable then does not count.
bool is_typed(const CLI::Option& option, const std::vector<std::string>& arguments) {
  for (const std::string& word : arguments) {
    for (const std::string& name : option.get_lnames()) {
      if (word == "--" + name || word.starts_with("--" + name + "=")) return true;
    }
    for (const std::string& name : option.get_snames()) {
      if (word.starts_with("-" + name)) return true;
    }
  }
  return false;
}

// Which variable is behind a fault that names an option, or empty.
std::string fault_of_environment(const CLI::App& app, const std::vector<std::string>& arguments,
                                 const std::string& fault) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string& variable = option->get_envname();
    if (variable.empty() || option->get_lnames().empty()) continue;
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0' || is_typed(*option, arguments)) continue;
    if (fault.find("--" + option->get_lnames().front()) == std::string::npos) continue;
    return cat(" (the environment says ", variable, "=", value, ")");
  }
  return {};
}

}  // namespace

std::string environment_name(const std::string& names) {
  const size_t at = names.find("--");
  if (at == std::string::npos) return {};
  std::string out = "HEED_";
  for (const char c : names.substr(at + 2, names.find(',', at) - at - 2)) {
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

CLI::Option* add_flag(CLI::App& app, const std::string& names, bool& value,
                      const std::string& text) {
  return app.add_flag(names, value, text)->envname(environment_name(names));
}

CLI::Option* add_threads(CLI::App& app, int& value) {
  return add(app, "-t,--threads", value, "Threads; 0: the cores this process may use")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
}

CLI::Option* add_model(CLI::App& app, std::string& value) {
  return add(app, "-m,--model", value, "GGUF file, short name or ollama:NAME; pulled when missing")
      ->type_name("MODEL");
}

CLI::Option* add_linear(CLI::App& app, std::string& value) {
  return add(app, "--linear", value,
             "Products: heed's own, with inputs in bytes or (accurate) in bf16, or ggml's")
      ->check([](const std::string& word) {
        return word != "onednn" ? std::string()
                                : "'onednn': heed's own products serve F32, F16 and BF16 weights, "
                                  "and heed is built without oneDNN (docs/decisions.md, 22); "
                                  "leave --linear out, or name heed";
      })
      ->check(one_of({"heed", "accurate", "ggml"}))
      ->capture_default_str();
}

CLI::Validator one_of(std::vector<std::string> words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : "|") + word;
  return CLI::Validator(
      [words = std::move(words)](const std::string& value) -> std::string {
        std::string list;
        for (const std::string& word : words) {
          if (word == value) return {};
          list += (list.empty() ? "" : ", ") + word;
        }
        const std::string near = nearest_name(value, words);
        return cat("'", value, "' is not one of ", list,
                   near.empty() ? "" : cat("; did you mean '", near, "'?"));
      },
      all, kWords);
}

std::vector<std::string> words_of(CLI::Option& option) {
  try {
    std::string words = option.get_validator(kWords)->get_description();
    return CLI::detail::split(words.substr(0, words.find(kListMark)), '|');
  } catch (const CLI::OptionNotFound&) {
    return {};  // CLI11 has no other way to say that there is no such check
  }
}

std::vector<std::string> spellings(const CLI::App& app, const CLI::Option& option) {
  std::vector<std::string> out, long_ones;
  for (const std::string& name : option.get_snames()) out.push_back(cat("-", name));
  for (const std::string& name : option.get_lnames()) long_ones.push_back(cat("--", name));
  for (const ShortName& s : kShortNames) {
    if (app.get_option_no_throw(s.option) != &option) continue;
    (s.spelling[1] == '-' ? long_ones : out).emplace_back(s.spelling);
  }
  out.insert(out.end(), long_ones.begin(), long_ones.end());
  return out;
}

std::vector<std::string> spellings(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::Option* option : app.get_options()) {
    for (std::string& name : spellings(app, *option)) out.push_back(std::move(name));
  }
  return out;
}

std::optional<int> parse(Verb& verb, CLI::App& app, std::vector<std::string> arguments) {
  app.name(cat("heed ", verb.name()));
  app.description(verb.summary());
  app.footer(cat("\nExamples:\n", verb.examples()));
  verb.options(app);
  if (const std::string fault = normalise(app, arguments); !fault.empty()) {
    return usage_error(verb.name(), fault);
  }
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const std::string text = app.help();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return kDone;
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> rest = app.remaining();
    return usage_error(verb.name(),
                       cat("unexpected argument '", rest.empty() ? "" : rest.front(), "'"));
  } catch (const CLI::ParseError& e) {
    const std::string fault = e.what();
    return usage_error(verb.name(), cat(fault, fault_of_environment(app, arguments, fault)));
  }
  return std::nullopt;
}

}  // namespace heed::cli
