// The lines that a person has typed, in a file that is theirs alone.
#pragma once

#include <string>
#include <vector>

namespace heed::cli {

class LineHistory {
 public:
  static constexpr size_t kMost = 1000;  // lines that are offered again

  // Empty: no file. What goes wrong with the file costs old lines, no more.
  explicit LineHistory(std::string file);

  const std::vector<std::string>& lines() const { return lines_; }
  // A line like the last one is not kept twice.
  void add(const std::string& line);

 private:
  void append(const std::string& line) const;

  std::string file_;
  std::vector<std::string> lines_;
};

}  // namespace heed::cli
