// What a raw terminal sends, as keys.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace heed::cli {

enum class Key {
  kText,
  kEnter,
  kNewLine,  // Alt-Enter: a line end inside the text
  kBackspace,
  kDelete,
  kLeft,
  kRight,
  kWordLeft,
  kWordRight,
  kUp,
  kDown,
  kHome,
  kEnd,
  kPasteBegins,
  kPasteEnds,
  kControl,
  kResized,  // the terminal has another size
  kNothing,  // an unknown sequence
  kClosed,
};

struct Press {
  Key key;
  std::string text = {};  // of kText: one character, or bytes that are none; of kEnter: its byte
  char letter = 0;        // of kControl
};

class Keyboard {
 public:
  // `resized` is asked while no key comes.
  Keyboard(int fd, std::function<bool()> resized) : fd_(fd), resized_(std::move(resized)) {}

  Press next();
  // Another key is there already.
  bool more() const { return ready(0); }

 private:
  bool ready(int milliseconds) const;
  bool byte(char& c);
  bool soon(char& c);
  Press sequence();
  std::string character(char first);

  int fd_;
  std::optional<char> next_;  // read already
  std::function<bool()> resized_;
};

}  // namespace heed::cli
