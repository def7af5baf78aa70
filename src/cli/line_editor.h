// One line from a person at a terminal: editing, history, pasted text with its line ends.
//
// The terminal sends single bytes while a line is edited, Ctrl-C and Ctrl-D among them, so no
// signal ends the program there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace heed::cli {

class LineEditor {
 public:
  enum class Event {
    kLine,
    kInterrupt,  // Ctrl-C; what was typed is gone
    kEnd,        // Ctrl-D on an empty line, or the terminal went away
  };

  // Lines of `history` are offered again, the last kHistory of them; empty: no file.
  static constexpr size_t kHistory = 1000;
  LineEditor(int in, int out, std::string history);

  // Both are terminals that can move a cursor.
  static bool can_edit(int in, int out);

  Event read(const std::string& prompt, std::string& line);
  // Keeps a line for later, here and in the file. A line like the last one is not kept twice.
  void remember(const std::string& line);

 private:
  int in_, out_;
  std::string file_;
  std::vector<std::string> history_;
};

// Cells that text takes on a terminal. Line ends count as one: the editor shows them as a sign.
int display_width(std::string_view text);

}  // namespace heed::cli
