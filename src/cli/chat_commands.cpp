#include "cli/chat_commands.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "base/nearest.h"
#include "base/text.h"

namespace heed::cli {
namespace {

constexpr ChatCommandRow kCommands[] = {
    {ChatCommand::kHelp, "help", "", "This list"},
    {ChatCommand::kStatus, "status", "", "Tokens, memory and speed"},
    {ChatCommand::kSave, "save", "FILE",
     "Keep the conversation, and what the model computed of it"},
    {ChatCommand::kLoad, "load", "FILE", "Go on with a kept conversation"},
    {ChatCommand::kSystem, "system", "[TEXT]",
     "Set the system message; without TEXT: show it; -: none"},
    {ChatCommand::kRegen, "regen", "", "Answer the last message again"},
    {ChatCommand::kUndo, "undo", "", "Take back the last message and its answer"},
    {ChatCommand::kClear, "clear", "", "Forget the conversation, keep the system message"},
    {ChatCommand::kExit, "exit", "", "End (also Ctrl-D)"},
};

constexpr const char* kSpace = " \t\n";  // a pasted command may have lines

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

std::span<const ChatCommandRow> chat_commands() { return kCommands; }

Result<ParsedCommand> parse_chat_command(const std::string& line) {
  const std::string_view all = trimmed(line);
  const size_t space = all.find_first_of(kSpace);
  const std::string name(all.substr(0, space));
  const std::string argument(space == std::string_view::npos ? std::string_view()
                                                             : trimmed(all.substr(space)));
  std::vector<std::string> names;
  for (const ChatCommandRow& row : kCommands) {
    names.emplace_back(row.name);
    if (name != row.name) continue;
    const std::string_view takes = row.argument;
    if (takes.empty() && !argument.empty()) {
      return error(Code::kInvalidArgument, "/", name, " takes no argument, and was given '",
                   argument, "'");
    }
    if (!takes.empty() && !takes.starts_with('[') && argument.empty()) {
      return error(Code::kInvalidArgument, "/", name, " needs a ", takes, ": /", name, " ", takes);
    }
    return ParsedCommand{row.command, argument};
  }
  const std::string near = nearest_name(name, names);
  return error(Code::kInvalidArgument, "unknown command '/", name, "'",
               near.empty() ? "; /help lists them" : cat("; did you mean '/", near, "'?"),
               " (a message that begins with a slash: write //)");
}

std::string chat_help() {
  std::string out;
  for (const ChatCommandRow& row : kCommands) {
    out += fmt::format("  /{:<16} {}\n", fmt::format("{} {}", row.name, row.argument), row.text);
  }
  return out +
         "  A backslash at the end of a line continues it; \"\"\" opens and closes several lines;\n"
         "  Alt-Enter begins a line, and pasted lines stay one message; // begins a message with\n"
         "  a slash. Ctrl-C stops an answer.\n";
}

}  // namespace heed::cli
