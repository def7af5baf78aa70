// Options that take a list in one argument, with commas, so that what follows is not swallowed.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/parse.h"

namespace heed::cli {

// The entries of one argument with commas. CLI11's own lists drop empty ones, and with them what
// the user meant to write there. Throws CLI::ValidationError.
std::vector<std::string> entries(const std::string& name, const std::string& list);
std::string long_name(const std::string& names);  // "--n-prompt" of "-p,--n-prompt"

void add_words(CLI::App& app, const std::string& names, std::vector<std::string>& values,
               const std::vector<std::string>& words, const std::string& text);

template <class T>
T number(const std::string& name, const std::string& entry) {
  T value = 0;
  const char* end = entry.data() + entry.size();
  const auto [at, fault] = std::from_chars(entry.data(), end, value);
  if (fault == std::errc::result_out_of_range) {
    throw CLI::ValidationError(name, cat("'", entry, "' is too large"));
  }
  if (fault != std::errc{} || at != end) {
    throw CLI::ValidationError(name, cat("'", entry, "' is not a whole number"));
  }
  return value;
}

template <class T>
void add_numbers(CLI::App& app, const std::string& names, std::vector<T>& values,
                 const std::string& text) {
  std::string standard;
  for (const T value : values) standard += cat(standard.empty() ? "" : ",", value);
  const auto take = [&values, name = long_name(names)](const std::string& list) {
    values.clear();
    for (const std::string& entry : entries(name, list)) {
      values.push_back(number<T>(name, entry));
    }
  };
  app.add_option_function<std::string>(names, take, text)
      ->envname(environment_name(names))
      ->type_name(cat("INT", kListMark))
      ->default_str(standard);
}

}  // namespace heed::cli
