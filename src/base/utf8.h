// UTF-8 out of pieces that may end inside a character.
#pragma once

#include <string>
#include <string_view>

namespace heed {

// Collects bytes and gives back whole characters. Bytes that can never become a character come out
// as U+FFFD, so everything that leaves is valid UTF-8.
class Utf8Assembler {
 public:
  // The characters completed by `bytes`; the rest waits for the next call.
  std::string push(std::string_view bytes);
  // What is left at the end of the text, as U+FFFD; empty when nothing is.
  std::string finish();

 private:
  std::string pending_;  // the beginning of one character, at most 3 bytes
};

// The length in bytes of the valid character at the beginning of `s`, 0 when `s` could still become
// one, -1 when it cannot (overlong forms, surrogates and values above U+10FFFF included).
int utf8_character(std::string_view s);

}  // namespace heed
