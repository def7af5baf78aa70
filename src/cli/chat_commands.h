// The commands of `heed chat`: lines that begin with a slash.
#pragma once

#include <span>
#include <string>

#include "heed/status.h"

namespace heed::cli {

enum class ChatCommand {
  kHelp,
  kStatus,
  kSave,
  kLoad,
  kSystem,
  kRegen,
  kUndo,
  kClear,
  kExit,
};

struct ChatCommandRow {
  ChatCommand command;
  const char* name;
  const char* argument;  // "FILE", "[TEXT]" where it may be left out, "" where there is none
  const char* text;      // one line
};
std::span<const ChatCommandRow> chat_commands();

struct ParsedCommand {
  ChatCommand command = ChatCommand::kHelp;
  std::string argument;
};

// "save notes.json", as it stands behind the slash. Errors: an unknown name, with the nearest; an
// argument that is missing or too many.
Result<ParsedCommand> parse_chat_command(const std::string& line);

// What /help prints.
std::string chat_help();

}  // namespace heed::cli
