// One line from a person at a terminal: editing, history, pasted text with its line ends.
//
// The terminal sends single bytes while a line is edited, Ctrl-C and Ctrl-D among them, so no
// signal ends the program there.
#pragma once

#include <string>

#include "cli/line_history.h"

namespace heed::cli {

class LineEditor {
 public:
  enum class Event {
    kLine,
    kInterrupt,  // Ctrl-C; the line has what was typed and is not meant
    kEnd,        // Ctrl-D on an empty line, or the terminal went away
  };

  // `history`: file of earlier lines, may be empty.
  LineEditor(int in, int out, std::string history);

  // Both are terminals that can move a cursor.
  static bool can_edit(int in, int out);

  Event read(const std::string& prompt, std::string& line);
  // Keeps a line for later, here and in the file.
  void remember(const std::string& line) { history_.add(line); }

 private:
  int in_, out_;
  LineHistory history_;
};

}  // namespace heed::cli
