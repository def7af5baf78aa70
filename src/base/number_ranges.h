// Numbers as people list them.
#pragma once

#include <span>
#include <string>

namespace heed {

// "0-4, 6-10, 12" of ascending numbers.
inline std::string number_ranges(std::span<const int> numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[i]);
    if (end - i > 1) text += '-' + std::to_string(numbers[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace heed
