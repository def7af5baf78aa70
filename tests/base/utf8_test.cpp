#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace heed {
namespace {

std::string encode(uint32_t c) {
  std::string s;
  if (c < 0x80) {
    s += static_cast<char>(c);
  } else if (c < 0x800) {
    s += static_cast<char>(0xC0 | (c >> 6));
    s += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    s += static_cast<char>(0xE0 | (c >> 12));
    s += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    s += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    s += static_cast<char>(0xF0 | (c >> 18));
    s += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    s += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    s += static_cast<char>(0x80 | (c & 0x3F));
  }
  return s;
}

TEST(utf8, every_scalar_value_is_one_character_and_every_surrogate_is_none) {
  for (uint32_t c = 1; c < 0x110000; ++c) {
    const std::string s = encode(c);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(utf8_character(s), surrogate ? -1 : static_cast<int>(s.size())) << c;
    for (size_t cut = 1; !surrogate && cut < s.size(); ++cut) {
      ASSERT_EQ(utf8_character(s.substr(0, cut)), 0) << c;
    }
  }
}

TEST(utf8, overlong_forms_and_values_beyond_unicode_are_refused) {
  EXPECT_EQ(utf8_character("\xC0\xAF"), -1);
  EXPECT_EQ(utf8_character("\xE0\x80\xAF"), -1);
  EXPECT_EQ(utf8_character("\xF0\x80\x80\xAF"), -1);
  EXPECT_EQ(utf8_character("\xF4\x90\x80\x80"), -1);
  EXPECT_EQ(utf8_character("\x80"), -1);
}

TEST(utf8_assembler, any_split_gives_whole_characters_and_the_same_text) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      Utf8Assembler assembler;
      std::string out;
      const std::string parts[] = {text.substr(0, i), text.substr(i, j - i), text.substr(j)};
      for (const std::string& part : parts) {
        const std::string piece = assembler.push(part);
        for (size_t at = 0; at < piece.size();) {
          const int n = utf8_character(std::string_view(piece).substr(at));
          ASSERT_GT(n, 0);
          at += static_cast<size_t>(n);
        }
        out += piece;
      }
      EXPECT_EQ(out + assembler.finish(), text);
    }
  }
}

TEST(utf8_assembler, broken_bytes_come_out_as_replacement_characters) {
  Utf8Assembler assembler;
  EXPECT_EQ(assembler.push("a\xFFz\xE2\x82"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(assembler.push("q"), "\xEF\xBF\xBD\xEF\xBF\xBDq");
  EXPECT_EQ(assembler.push("\xE2\x82"), "");
  EXPECT_EQ(assembler.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(assembler.finish(), "");
}

}  // namespace
}  // namespace heed
