#include "cli/line_editor.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cli/cell_width.h"
#include "cli/keyboard.h"
#include "cli/raw_terminal.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

// As it stands on the screen, in one row: a line end inside is a sign, a tab one cell.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\xE2\x8F\x8E";
    } else {
      out += c == '\t' ? ' ' : c;
    }
  }
  return printable(out);
}

class Line {
 public:
  Line(int in, int out, RawTerminal& terminal, const std::string& prompt,
       const std::vector<std::string>& history)
      : keys_(in, [this] { return columns() != drawn_columns_; }),
        out_(out),
        terminal_(terminal),
        prompt_(prompt),
        history_(history),
        at_history_(history.size()) {}

  LineEditor::Event edit(std::string& line) {
    for (;;) {
      // What comes in one go is drawn in one.
      if (!pasting_ && !keys_.more()) draw();
      const Press press = keys_.next();
      const bool control = press.key == Key::kControl;
      if (press.key == Key::kClosed) return LineEditor::Event::kEnd;
      if (control && press.letter == 'C') {
        draw();
        send("^C");
        line = text_;
        return LineEditor::Event::kInterrupt;
      }
      if (pasting_) {
        paste(press);
        continue;
      }
      if (control && press.letter == 'D' && text_.empty()) return LineEditor::Event::kEnd;
      if (press.key == Key::kEnter) {
        cursor_ = text_.size();
        draw();
        line = text_;
        return LineEditor::Event::kLine;
      }
      apply(press);
    }
  }

 private:
  // Text as it is; no key inside it means anything.
  void paste(const Press& press) {
    const bool return_before = std::exchange(after_return_, false);
    if (press.key == Key::kPasteEnds) {
      pasting_ = false;
    } else if (press.key == Key::kEnter) {
      // Of a line end of Windows the second byte is nothing.
      if (press.text == "\r" || !return_before) insert("\n");
      after_return_ = press.text == "\r";
    } else if (press.key == Key::kText) {
      insert(press.text);
    }
  }

  void apply(const Press& press) {
    switch (press.key) {
      case Key::kText: insert(press.text == "\t" ? " " : press.text); break;
      case Key::kNewLine: insert("\n"); break;
      case Key::kBackspace: erase(previous_character(text_, cursor_), cursor_); break;
      case Key::kDelete: erase(cursor_, next_character(text_, cursor_)); break;
      case Key::kLeft: cursor_ = previous_character(text_, cursor_); break;
      case Key::kRight: cursor_ = next_character(text_, cursor_); break;
      case Key::kWordLeft: cursor_ = word_begin(); break;
      case Key::kWordRight: cursor_ = word_end(); break;
      case Key::kHome: cursor_ = 0; break;
      case Key::kEnd: cursor_ = text_.size(); break;
      case Key::kUp: recall(-1); break;
      case Key::kDown: recall(1); break;
      case Key::kPasteBegins: pasting_ = true; break;
      case Key::kControl: control(press.letter); break;
      case Key::kEnter:
      case Key::kPasteEnds:
      case Key::kResized:
      case Key::kNothing:
      case Key::kClosed: break;
    }
  }

  void control(char letter) {
    switch (letter) {
      case 'A': cursor_ = 0; break;
      case 'E': cursor_ = text_.size(); break;
      case 'B': cursor_ = previous_character(text_, cursor_); break;
      case 'F': cursor_ = next_character(text_, cursor_); break;
      case 'D': erase(cursor_, next_character(text_, cursor_)); break;
      case 'K': erase(cursor_, text_.size()); break;
      case 'U': erase(0, cursor_); break;
      case 'W': erase(word_begin(), cursor_); break;
      case 'P': recall(-1); break;
      case 'N': recall(1); break;
      case 'L': send("\x1b[H\x1b[2J"); break;
      case 'Z': terminal_.suspend(); break;
      default: break;
    }
  }

  void insert(std::string_view text) {
    text_.insert(cursor_, text);
    cursor_ += text.size();
  }

  void erase(size_t from, size_t to) {
    text_.erase(from, to - from);
    cursor_ = from;
  }

  bool space(size_t at) const { return text_[at] == ' ' || text_[at] == '\n' || text_[at] == '\t'; }

  size_t word_begin() const {
    size_t at = cursor_;
    while (at > 0 && space(at - 1)) --at;
    while (at > 0 && !space(at - 1)) --at;
    return at;
  }

  size_t word_end() const {
    size_t at = cursor_;
    while (at < text_.size() && space(at)) ++at;
    while (at < text_.size() && !space(at)) ++at;
    return at;
  }

  void recall(int step) {
    if (step < 0 ? at_history_ == 0 : at_history_ == history_.size()) return;
    if (at_history_ == history_.size()) typed_ = text_;
    at_history_ += static_cast<size_t>(step);
    text_ = at_history_ == history_.size() ? typed_ : history_[at_history_];
    cursor_ = text_.size();
  }

  int columns() const {
    winsize size{};
    const bool known = ioctl(out_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
  }

  // One row of the screen; a longer text moves under it so that the cursor is in sight.
  void draw() {
    drawn_columns_ = columns();
    const int room = std::max(drawn_columns_ - 1 - display_width(prompt_), 8);
    // What stands before the cursor goes first; some room is for what comes behind it.
    const int before = cursor_ == text_.size() ? room : room * 3 / 4;
    size_t begin = cursor_, end = cursor_;
    int used = 0;
    while (begin > 0) {
      const size_t next = previous_character(text_, begin);
      const int cells = width(next, begin);
      if (used + cells > before) break;
      used += cells;
      begin = next;
    }
    while (end < text_.size()) {
      const size_t next = next_character(text_, end);
      const int cells = width(end, next);
      if (used + cells > room) break;
      used += cells;
      end = next;
    }
    std::string out = cat("\r", prompt_, shown({text_.data() + begin, end - begin}), "\x1b[K");
    const int back = width(cursor_, end);
    if (back > 0) out += cat("\x1b[", back, "D");
    send(out);
  }

  int width(size_t from, size_t to) const {
    return display_width(shown({text_.data() + from, to - from}));
  }

  void send(std::string_view text) const {
    [[maybe_unused]] const auto written = write(out_, text.data(), text.size());
  }

  Keyboard keys_;
  int out_;
  RawTerminal& terminal_;
  const std::string& prompt_;
  const std::vector<std::string>& history_;
  size_t at_history_;  // its size: what is typed now
  std::string text_, typed_;
  size_t cursor_ = 0;  // byte
  int drawn_columns_ = 0;
  bool pasting_ = false;
  bool after_return_ = false;  // the last byte of the paste was one
};

}  // namespace

bool LineEditor::can_edit(int in, int out) {
  const char* term = std::getenv("TERM");
  return is_terminal(in) && is_terminal(out) && (term == nullptr || std::strcmp(term, "dumb") != 0);
}

LineEditor::LineEditor(int in, int out, std::string history)
    : in_(in), out_(out), history_(std::move(history)) {}

LineEditor::Event LineEditor::read(const std::string& prompt, std::string& line) {
  line.clear();
  RawTerminal terminal(in_, out_);
  return Line(in_, out_, terminal, prompt, history_.lines()).edit(line);
}

}  // namespace heed::cli
