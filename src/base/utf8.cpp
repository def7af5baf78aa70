#include "base/utf8.h"

namespace heed {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

int utf8_character(std::string_view s) {
  if (s.empty()) return 0;
  const auto byte = [s](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  // The second byte carries the limits against overlong forms, surrogates and too large values
  // (Unicode 15, table 3-7).
  size_t length = 0;
  unsigned low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return -1;
  }
  for (size_t i = 1; i < length; ++i) {
    if (i >= s.size()) return 0;
    if (byte(i) < low || byte(i) > high) return -1;
    low = 0x80;
    high = 0xBF;
  }
  return static_cast<int>(length);
}

std::string Utf8Assembler::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const int length = utf8_character(rest);
    if (length == 0) break;
    if (length > 0) {
      out.append(rest.substr(0, static_cast<size_t>(length)));
      rest.remove_prefix(static_cast<size_t>(length));
    } else {
      out.append(kReplacement);
      rest.remove_prefix(1);
    }
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Assembler::finish() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacement);
}

}  // namespace heed
