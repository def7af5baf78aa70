// Cells that text takes on a terminal, and characters as a person counts them.
#pragma once

#include <cstddef>
#include <string_view>

namespace heed::cli {

// 0 for accents and joiners, 2 for East Asian scripts and pictures, else 1.
int cells_of(char32_t c);
// Line ends and bytes that are no UTF-8 count as one.
int display_width(std::string_view text);

// Where the character behind byte `at` ends, and where the one before it begins: a letter goes
// with its accents, a picture with those that are joined to it.
size_t next_character(std::string_view text, size_t at);
size_t previous_character(std::string_view text, size_t at);

}  // namespace heed::cli
