#include "cli/list_options.h"

namespace heed::cli {

std::vector<std::string> entries(const std::string& name, const std::string& list) {
  std::vector<std::string> out(1);
  for (const char c : list) {
    if (c == ',') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  for (const std::string& entry : out) {
    if (entry.empty()) {
      throw CLI::ValidationError(name, cat("'", list, "' has an empty entry"));
    }
  }
  return out;
}

std::string long_name(const std::string& names) { return names.substr(names.find("--")); }

void add_words(CLI::App& app, const std::string& names, std::vector<std::string>& values,
               const std::vector<std::string>& words, const std::string& text) {
  const CLI::Validator known = one_of(words);
  const auto take = [&values, known, name = long_name(names)](const std::string& list) {
    values = entries(name, list);
    for (std::string& entry : values) {
      const std::string fault = known(entry);
      if (!fault.empty()) throw CLI::ValidationError(name, fault);
    }
  };
  app.add_option_function<std::string>(names, take, text)
      ->envname(environment_name(names))
      // `take` checks every entry; this tells --help and words_of() what they are.
      ->check(CLI::Validator(cat(known.get_description(), kListMark)).name(kWords));
}

}  // namespace heed::cli
