#include "cli/keyboard.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/utf8.h"

namespace heed::cli {
namespace {

constexpr int kResizeMilliseconds = 200;
// A key that sends several bytes sends them at once; a lone Escape has nothing behind it.
constexpr int kSequenceMilliseconds = 50;
constexpr size_t kLongestSequence = 32;  // no key sends more; what does is no key

constexpr std::array<std::pair<const char*, Key>, 17> kKeys = {{{"A", Key::kUp},
                                                                {"B", Key::kDown},
                                                                {"C", Key::kRight},
                                                                {"D", Key::kLeft},
                                                                {"1;5C", Key::kWordRight},
                                                                {"1;5D", Key::kWordLeft},
                                                                {"1;3C", Key::kWordRight},
                                                                {"1;3D", Key::kWordLeft},
                                                                {"H", Key::kHome},
                                                                {"F", Key::kEnd},
                                                                {"1~", Key::kHome},
                                                                {"7~", Key::kHome},
                                                                {"4~", Key::kEnd},
                                                                {"8~", Key::kEnd},
                                                                {"3~", Key::kDelete},
                                                                {"200~", Key::kPasteBegins},
                                                                {"201~", Key::kPasteEnds}}};

}  // namespace

Press Keyboard::next() {
  while (!ready(kResizeMilliseconds)) {
    if (resized_()) return {Key::kResized};
  }
  char c = 0;
  if (!byte(c)) return {Key::kClosed};
  if (c == '\x1b') return sequence();
  if (c == '\r' || c == '\n') return {Key::kEnter, std::string(1, c)};
  if (c == '\x7f' || c == '\b') return {Key::kBackspace};
  if (c == '\t') return {Key::kText, "\t"};
  if (static_cast<unsigned char>(c) < 0x20) {
    return {Key::kControl, {}, static_cast<char>(c + 0x40)};
  }
  return {Key::kText, character(c)};
}

bool Keyboard::ready(int milliseconds) const {
  pollfd waiting{fd_, POLLIN, 0};
  return next_ || poll(&waiting, 1, milliseconds) > 0;
}

bool Keyboard::byte(char& c) {
  if (next_) {
    c = *std::exchange(next_, std::nullopt);
    return true;
  }
  ssize_t n = 0;
  do {
    n = ::read(fd_, &c, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

bool Keyboard::soon(char& c) { return ready(kSequenceMilliseconds) && byte(c); }

// All bytes of it, so that no half of one is ever drawn.
std::string Keyboard::character(char first) {
  std::string text(1, first);
  for (char c = 0; utf8_character(text) == 0 && soon(c);) {
    text += c;
    if (utf8_character(text) >= 0) continue;
    text.pop_back();  // the next key
    next_ = c;
    break;
  }
  return text;
}

Press Keyboard::sequence() {
  char c = 0;
  if (!soon(c)) return {Key::kNothing};
  if (c == '\r' || c == '\n') return {Key::kNewLine};
  if (c == 'b') return {Key::kWordLeft};
  if (c == 'f') return {Key::kWordRight};
  if (c != '[' && c != 'O') return {Key::kNothing};
  std::string name;
  do {
    if (name.size() == kLongestSequence || !soon(c)) return {Key::kNothing};
    name += c;
  } while (c >= ' ' && c < '@');
  for (const auto& [bytes, key] : kKeys) {
    if (name == bytes) return {key};
  }
  return {Key::kNothing};
}

}  // namespace heed::cli
