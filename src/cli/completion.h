// Scripts that teach a shell heed's verbs, options, values and models.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/option_table.h"

namespace heed::cli {

std::string bash_completion(const std::vector<VerbRow>& table);
std::string zsh_completion(const std::vector<VerbRow>& table);
std::string fish_completion(const std::vector<VerbRow>& table);

// What all three complete behind `heed help`.
inline constexpr const char* kHelpSummary = "Options and examples of a verb";

std::string joined(const std::vector<std::string>& words, std::string_view between = " ");
// `text` as one word of the shell: in single quotes, which end around a quote of its own.
std::string single_quoted(std::string_view text);

}  // namespace heed::cli
