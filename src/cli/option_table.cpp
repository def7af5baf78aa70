#include "cli/option_table.h"

#include "cli/list_options.h"
#include "cli/parse.h"
#include "cli/verb.h"

namespace heed::cli {
namespace {

// "INT in [0 - 512]", as CLI::Range describes itself, becomes "0 to 512".
std::string limits_of(const std::string& type) {
  const size_t open = type.find("in ["), close = type.rfind(']');
  if (open == std::string::npos || close == std::string::npos) return {};
  std::string limits = type.substr(open + 4, close - open - 4);
  if (const size_t dash = limits.find(" - "); dash != std::string::npos) {
    limits.replace(dash, 3, " to ");
  }
  return limits;
}

OptionRow row_of(const CLI::App& app, CLI::Option& option) {
  OptionRow row;
  row.positional = option.get_positional();
  row.names =
      row.positional ? std::vector<std::string>{option.get_name(true)} : spellings(app, option);
  row.required = option.get_required();
  row.repeated = option.get_expected_max() > 1;
  row.variable = option.get_envname();
  row.text = option.get_description();
  if (option.get_items_expected_max() == 0) return row;
  const std::string type = option.get_type_name();
  row.value = row.positional ? row.names.front() : type.substr(0, type.find(':'));
  row.words = words_of(option);
  row.list = type.ends_with(kListMark);
  row.limits = limits_of(type);
  row.standard = option.get_default_str();
  return row;
}

}  // namespace

std::vector<VerbRow> option_table() {
  std::vector<VerbRow> table;
  for (const auto& verb : all_verbs()) {
    CLI::App app;
    verb->options(app);
    VerbRow row{verb->name(), verb->summary(), verb->examples(), {}};
    for (CLI::Option* option : app.get_options()) row.options.push_back(row_of(app, *option));
    table.push_back(std::move(row));
  }
  return table;
}

}  // namespace heed::cli
