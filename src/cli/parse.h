// Arguments to options through CLI11, with llama.cpp's spellings and the nearest name in refusals.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace heed::cli {

// Adds an option whose environment variable is HEED_ and its long name: --top-k, HEED_TOP_K.
template <class T>
CLI::Option* add(CLI::App& app, const std::string& names, T& value, const std::string& text);
CLI::Option* add_flag(CLI::App& app, const std::string& names, bool& value,
                      const std::string& text);
CLI::Option* add_threads(CLI::App& app, int& value);         // -t
CLI::Option* add_linear(CLI::App& app, std::string& value);  // --linear
CLI::Option* add_model(CLI::App& app, std::string& value);   // -m
std::string environment_name(const std::string& names);

// A check against a list of words; the refusal names the nearest and all.
CLI::Validator one_of(std::vector<std::string> words);
inline constexpr const char* kWords = "words";    // the name of this check
inline constexpr const char* kListMark = ",...";  // behind the type of an option that takes a list
// The words of an option that has this check, else nothing.
std::vector<std::string> words_of(CLI::Option& option);

// Parses into what `verb.options` bound. An exit code when the command ends here (help, usage).
std::optional<int> parse(Verb& verb, CLI::App& app, std::vector<std::string> arguments);

// Every short and long spelling of an option or of all, llama.cpp's two-letter ones included.
std::vector<std::string> spellings(const CLI::App& app, const CLI::Option& option);
std::vector<std::string> spellings(const CLI::App& app);

template <class T>
CLI::Option* add(CLI::App& app, const std::string& names, T& value, const std::string& text) {
  return app.add_option(names, value, text)->envname(environment_name(names));
}

}  // namespace heed::cli
