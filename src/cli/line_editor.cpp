#include "cli/line_editor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/text.h"
#include "base/utf8.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

// What the terminal was like, for the moment in which the process ends while a line is edited.
termios saved_mode;
std::atomic<int> raw_terminal{-1};

void restore_terminal() {
  const int fd = raw_terminal.exchange(-1);
  if (fd >= 0) tcsetattr(fd, TCSADRAIN, &saved_mode);
}

// Bytes as they are typed, until the end of the scope; pasted text comes in brackets.
class RawMode {
 public:
  RawMode(int in, int out) : out_(out) {
    if (tcgetattr(in, &saved_mode) != 0) return;
    termios raw = saved_mode;
    raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    set_farewell(restore_terminal);
    if (tcsetattr(in, TCSADRAIN, &raw) != 0) return;
    raw_terminal.store(in);
    send("\x1b[?2004h");
  }
  ~RawMode() {
    send("\x1b[?2004l\n");
    restore_terminal();
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  void send(std::string_view text) const {
    [[maybe_unused]] const auto written = write(out_, text.data(), text.size());
  }
  int out_;
};

enum class Key {
  kText,
  kEnter,
  kBackspace,
  kDelete,
  kLeft,
  kRight,
  kUp,
  kDown,
  kHome,
  kEnd,
  kPasteBegins,
  kPasteEnds,
  kControl,
  kNothing,  // an unknown sequence
  kClosed,
};

struct Press {
  Key key;
  char byte = 0;  // of kText and kControl (the letter)
};

class Keyboard {
 public:
  explicit Keyboard(int fd) : fd_(fd) {}

  Press next() {
    char c = 0;
    if (!byte(c)) return {Key::kClosed};
    if (c == '\x1b') return sequence();
    if (c == '\r' || c == '\n') return {Key::kEnter};
    if (c == '\x7f' || c == '\b') return {Key::kBackspace};
    if (c == '\t') return {Key::kText, ' '};
    if (static_cast<unsigned char>(c) < 0x20) return {Key::kControl, static_cast<char>(c + 0x40)};
    return {Key::kText, c};
  }

 private:
  bool byte(char& c) const {
    ssize_t n = 0;
    do {
      n = ::read(fd_, &c, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1;
  }

  // A key that sends several bytes sends them at once; a lone Escape has nothing behind it.
  bool soon(char& c) const {
    pollfd ready{fd_, POLLIN, 0};
    return poll(&ready, 1, 50) > 0 && byte(c);
  }

  Press sequence() const {
    char c = 0;
    if (!soon(c) || (c != '[' && c != 'O')) return {Key::kNothing};
    std::string parameters;
    while (soon(c) && c < 0x40) parameters += c;
    constexpr std::array<std::pair<const char*, Key>, 13> kKeys = {{{"A", Key::kUp},
                                                                    {"B", Key::kDown},
                                                                    {"C", Key::kRight},
                                                                    {"D", Key::kLeft},
                                                                    {"H", Key::kHome},
                                                                    {"F", Key::kEnd},
                                                                    {"1~", Key::kHome},
                                                                    {"7~", Key::kHome},
                                                                    {"4~", Key::kEnd},
                                                                    {"8~", Key::kEnd},
                                                                    {"3~", Key::kDelete},
                                                                    {"200~", Key::kPasteBegins},
                                                                    {"201~", Key::kPasteEnds}}};
    const std::string name = parameters + c;
    for (const auto& [bytes, key] : kKeys) {
      if (name == bytes) return {key};
    }
    return {Key::kNothing};
  }

  int fd_;
};

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

size_t next_character(const std::string& text, size_t at) {
  if (at < text.size()) ++at;
  while (at < text.size() && continues(text[at])) ++at;
  return at;
}

size_t previous_character(const std::string& text, size_t at) {
  if (at > 0) --at;
  while (at > 0 && continues(text[at])) --at;
  return at;
}

char32_t code_point(std::string_view c) {
  const auto first = static_cast<unsigned char>(c[0]);
  char32_t code = c.size() == 1 ? first : first & (0x7Fu >> c.size());
  for (size_t i = 1; i < c.size(); ++i)
    code = code << 6 | (static_cast<unsigned char>(c[i]) & 0x3F);
  return code;
}

// East Asian scripts and pictures take two cells; accents and joiners none.
int cells_of(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (in(0x300, 0x36F) || in(0x200B, 0x200F) || in(0xFE00, 0xFE0F)) return 0;
  const bool wide = in(0x1100, 0x115F) || in(0x2E80, 0xA4CF) || in(0xAC00, 0xD7A3) ||
                    in(0xF900, 0xFAFF) || in(0xFE30, 0xFE6F) || in(0xFF00, 0xFF60) ||
                    in(0x1F300, 0x1FAFF) || in(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

// As it stands on the screen, where a line end inside is a sign.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\xE2\x8F\x8E";
    } else {
      out += c;
    }
  }
  return printable(out);
}

class Line {
 public:
  Line(int in, int out, const std::string& prompt, const std::vector<std::string>& history)
      : keys_(in), out_(out), prompt_(prompt), history_(history), at_history_(history.size()) {}

  LineEditor::Event edit(std::string& line) {
    for (;;) {
      if (!pasting_) draw();
      const Press press = keys_.next();
      if (press.key == Key::kClosed) return LineEditor::Event::kEnd;
      if (press.key == Key::kControl && press.byte == 'C') {
        send("^C");
        return LineEditor::Event::kInterrupt;
      }
      const bool empty = text_.empty();
      if (press.key == Key::kControl && press.byte == 'D' && empty) return LineEditor::Event::kEnd;
      if (press.key == Key::kEnter && !pasting_) {
        cursor_ = text_.size();
        draw();
        line = text_;
        return LineEditor::Event::kLine;
      }
      apply(press);
    }
  }

 private:
  void apply(const Press& press) {
    switch (press.key) {
      case Key::kText: insert(press.byte); break;
      case Key::kEnter: insert('\n'); break;
      case Key::kBackspace: erase(previous_character(text_, cursor_), cursor_); break;
      case Key::kDelete: erase(cursor_, next_character(text_, cursor_)); break;
      case Key::kLeft: cursor_ = previous_character(text_, cursor_); break;
      case Key::kRight: cursor_ = next_character(text_, cursor_); break;
      case Key::kHome: cursor_ = 0; break;
      case Key::kEnd: cursor_ = text_.size(); break;
      case Key::kUp: recall(-1); break;
      case Key::kDown: recall(1); break;
      case Key::kPasteBegins: pasting_ = true; break;
      case Key::kPasteEnds: pasting_ = false; break;
      case Key::kControl: control(press.byte); break;
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
      default: break;
    }
  }

  void insert(char c) { text_.insert(cursor_++, 1, c); }

  void erase(size_t from, size_t to) {
    text_.erase(from, to - from);
    cursor_ = from;
  }

  size_t word_begin() const {
    size_t at = cursor_;
    while (at > 0 && text_[at - 1] == ' ') --at;
    while (at > 0 && text_[at - 1] != ' ') --at;
    return at;
  }

  void recall(int step) {
    if (step < 0 ? at_history_ == 0 : at_history_ == history_.size()) return;
    if (at_history_ == history_.size()) typed_ = text_;
    at_history_ += static_cast<size_t>(step);
    text_ = at_history_ == history_.size() ? typed_ : history_[at_history_];
    cursor_ = text_.size();
  }

  // One row of the screen; a longer text moves under it so that the cursor is in sight.
  void draw() {
    winsize size{};
    const bool known = ioctl(out_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    const int columns = std::max((known ? size.ws_col : 80) - 1 - display_width(prompt_), 8);
    // What stands before the cursor goes first; some room is for what comes behind it.
    const int before = cursor_ == text_.size() ? columns : columns * 3 / 4;
    size_t begin = cursor_, end = cursor_;
    int used = 0;
    while (begin > 0 && used + width(previous_character(text_, begin), begin) <= before) {
      const size_t next = previous_character(text_, begin);
      used += width(next, begin);
      begin = next;
    }
    while (end < text_.size() && used + width(end, next_character(text_, end)) <= columns) {
      const size_t next = next_character(text_, end);
      used += width(end, next);
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
  const std::string& prompt_;
  const std::vector<std::string>& history_;
  size_t at_history_;  // its size: what is typed now
  std::string text_, typed_;
  size_t cursor_ = 0;  // byte
  bool pasting_ = false;
};

// A line of the history's file: line ends inside are \n, backslashes \\.
std::string to_file(const std::string& line) {
  std::string out;
  for (const char c : line) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

std::string from_file(const std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool escaped = line[i] == '\\' && i + 1 < line.size();
    if (escaped) ++i;
    out += escaped && line[i] == 'n' ? '\n' : line[i];
  }
  return out;
}

}  // namespace

int display_width(std::string_view text) {
  int cells = 0;
  while (!text.empty()) {
    const int n = std::max(utf8_character(text), 1);
    cells += cells_of(code_point(text.substr(0, static_cast<size_t>(n))));
    text.remove_prefix(static_cast<size_t>(n));
  }
  return cells;
}

bool LineEditor::can_edit(int in, int out) {
  const char* term = std::getenv("TERM");
  return is_terminal(in) && is_terminal(out) && (term == nullptr || std::strcmp(term, "dumb") != 0);
}

LineEditor::LineEditor(int in, int out, std::string history)
    : in_(in), out_(out), file_(std::move(history)) {
  if (file_.empty()) return;
  std::ifstream file(file_);
  for (std::string line; std::getline(file, line);) history_.push_back(from_file(line));
  if (history_.size() <= kHistory) return;
  // Now and then the file is cut back too; what goes wrong there costs old lines, no more.
  const bool long_file = history_.size() > 2 * kHistory;
  history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(kHistory));
  if (!long_file) return;
  std::ofstream shorter(file_, std::ios::trunc);
  for (const std::string& line : history_) shorter << to_file(line) << '\n';
}

LineEditor::Event LineEditor::read(const std::string& prompt, std::string& line) {
  line.clear();
  const RawMode raw(in_, out_);
  return Line(in_, out_, prompt, history_).edit(line);
}

void LineEditor::remember(const std::string& line) {
  if (line.empty() || (!history_.empty() && history_.back() == line)) return;
  history_.push_back(line);
  if (history_.size() > kHistory) history_.erase(history_.begin());
  if (file_.empty()) return;
  // For its owner alone: conversations are nobody else's.
  const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string text = to_file(line) + "\n";
  [[maybe_unused]] const auto written = write(fd, text.data(), text.size());
  close(fd);
}

}  // namespace heed::cli
