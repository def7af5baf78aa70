// The nearest valid name to a mistyped one, for messages that show the way out.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace heed {

// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`, case ignored.
inline int edit_distance(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  const size_t m = b.size();
  std::vector<int> two_back(m + 1), back(m + 1), row(m + 1);
  for (size_t j = 0; j <= m; ++j) back[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= m; ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({back[j] + 1, row[j - 1] + 1, back[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], two_back[j - 2] + 1);
      }
    }
    std::swap(two_back, back);
    std::swap(back, row);
  }
  return back[m];
}

// The candidate with the fewest edits, a shared beginning counting for it; empty when none is near:
// more than two edits and more than a third of the longer name.
template <class Names>
std::string nearest_name(std::string_view name, const Names& candidates) {
  std::string best;
  int best_distance = 1 << 30;
  // Comparing grows with the product of the lengths, and no valid name is that long.
  if (name.size() > 100) return best;
  for (const auto& candidate : candidates) {
    const std::string_view valid(candidate);
    const bool begins = name.size() >= 3 && valid.substr(0, name.size()) == name;
    const int distance = begins ? 1 : edit_distance(name, valid);
    const int longer = static_cast<int>(std::max(name.size(), valid.size()));
    if (distance < best_distance && distance <= std::max(2, longer / 3) && distance < longer) {
      best = valid;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace heed
