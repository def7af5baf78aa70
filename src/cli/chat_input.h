// What a person says to `heed chat`: lines put together to messages, commands told apart.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "cli/line_editor.h"

namespace heed::cli {

// Lines to messages: a backslash at the end of a line continues it, and """ opens a block that the
// next """ at the end of a line closes.
class MessageAssembler {
 public:
  // True when `line` completes the message, which take() gives.
  bool push(const std::string& line);
  std::string take();
  // Lines were given that no other has completed.
  bool open() const { return open_; }

 private:
  std::string text_;
  bool open_ = false, block_ = false;
};

class ChatInput {
 public:
  enum class Kind {
    kMessage,
    kCommand,    // "/name argument", without the slash
    kInterrupt,  // Ctrl-C at the prompt; the text was typed and is not meant
    kEnd,
  };
  struct Item {
    Kind kind = Kind::kEnd;
    std::string text;
  };

  // From the terminal with editing where there is one, else line by line from stdin. `history`:
  // file of earlier lines, may be empty.
  explicit ChatInput(std::string history);

  bool edits() const { return editor_ != nullptr; }
  // The next message or command that is not empty.
  Item next();

 private:
  LineEditor::Event line(bool first, std::string& out);

  std::unique_ptr<LineEditor> editor_;
  std::string unread_;        // of stdin
  size_t searched_ = 0;       // of it, where no line ends
  FILE* prompted_ = nullptr;  // where a person without the editor sees prompts
};

}  // namespace heed::cli
