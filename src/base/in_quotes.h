// Foreign text inside a message: on one line, and not longer than a line.
#pragma once

#include <string>
#include <string_view>

namespace heed {

// 'text' in single quotes (std::quoted is found by its argument, hence the name); control
// characters become spaces, what is too long ends in dots.
inline std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 64;
  std::string out = "'";
  out += text.substr(0, kLongest);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > kLongest) out += "...";
  return out += '\'';
}

}  // namespace heed
