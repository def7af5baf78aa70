// Where characters stand on a terminal, beside what the C library says of them.
#include "cli/cell_width.h"

#include <gtest/gtest.h>
#include <locale.h>
#include <wchar.h>

#include <string>
#include <vector>

namespace heed::cli {
namespace {

class CellWidth : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8"}) {
      if (locale_ == nullptr) locale_ = newlocale(LC_CTYPE_MASK, name, nullptr);
    }
    if (locale_ == nullptr) GTEST_SKIP() << "the C library has no locale with UTF-8";
    before_ = uselocale(locale_);
  }
  void TearDown() override {
    if (locale_ == nullptr) return;
    uselocale(before_);
    freelocale(locale_);
  }
  // Code points of which both know a width, and know another.
  static int differences(char32_t first, char32_t last) {
    int count = 0;
    for (char32_t c = first; c <= last; ++c) {
      const int cells = wcwidth(static_cast<wchar_t>(c));
      count += cells >= 0 && cells != cells_of(c);
    }
    return count;
  }

 private:
  locale_t locale_ = nullptr, before_ = nullptr;
};

TEST_F(CellWidth, is_that_of_the_c_library) {
  // Scripts that have not changed for long: Latin to Georgian, Indian and Thai among them, Hangul,
  // Chinese and Japanese, forms of full width, pictures.
  for (const auto& [first, last] : {std::pair{0x20u, 0x7Eu},
                                    {0xA0u, 0xACu},
                                    {0xAEu, 0x85Fu},
                                    {0x900u, 0xBFFu},
                                    {0xE00u, 0x11FFu},
                                    {0x2E80u, 0xA4CFu},
                                    {0xAC00u, 0xD7A3u},
                                    {0xF900u, 0xFAFFu},
                                    {0xFE00u, 0xFFEFu},
                                    {0x1F300u, 0x1F64Fu}}) {
    EXPECT_EQ(differences(first, last), 0) << std::hex << first << " to " << last;
  }
  // Of all: what newer versions of Unicode have added.
  EXPECT_LE(differences(0x20, 0x10FFFF), 500);
}

TEST(cell_width, of_a_text_is_the_sum) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("\u00e9e\u0301"), 2);
  EXPECT_EQ(display_width("\u65e5\u672c"), 4);
  EXPECT_EQ(display_width("\U0001F600!"), 3);
  EXPECT_EQ(display_width("\u0e01\u0e34\u0915\u0947"), 2) << "Thai and Devanagari vowels";
  EXPECT_EQ(display_width("\xff"), 1);
}

TEST(cell_width, characters_go_with_what_is_joined_to_them) {
  const std::vector<std::string> characters = {"a",
                                               "e\u0301",
                                               "\u65e5",
                                               "\u0915\u0947\u0902",
                                               "\U0001F469\u200D\U0001F4BB",
                                               "\n",
                                               "\u2764\uFE0F",
                                               "\xff",
                                               "z"};
  std::string text;
  std::vector<size_t> ends{0};
  for (const std::string& c : characters) ends.push_back((text += c).size());
  for (size_t i = 0; i < characters.size(); ++i) {
    EXPECT_EQ(next_character(text, ends[i]), ends[i + 1]) << i;
    EXPECT_EQ(previous_character(text, ends[i + 1]), ends[i]) << i;
  }
  EXPECT_EQ(next_character(text, text.size()), text.size());
  EXPECT_EQ(previous_character(text, 0), 0u);
  EXPECT_EQ(previous_character("\u0301\u0302", 4), 0u) << "accents of nothing";
}

}  // namespace
}  // namespace heed::cli
