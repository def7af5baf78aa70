#include "cli/line_history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/new_file.h"

namespace heed::cli {
namespace {

// A line of the file: line ends inside are \n, backslashes \\.
std::string to_file(const std::string& line) {
  std::string out;
  for (const char c : line) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out + '\n';
}

std::string from_file(const std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool escaped = line[i] == '\\' && i + 1 < line.size();
    if (escaped) ++i;
    out += escaped && line[i] == 'n' ? '\n' : line[i];
  }
  return out;
}

Status write_whole(const std::string& path, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += to_file(line);
  HEED_ASSIGN(const auto file, NewFile::create(path, text.size()));
  HEED_TRY(file->write(0, text.data(), text.size()));
  return file->commit();
}

}  // namespace

LineHistory::LineHistory(std::string file) : file_(std::move(file)) {
  if (file_.empty()) return;
  std::ifstream in(file_);
  for (std::string line; std::getline(in, line);) lines_.push_back(from_file(line));
  if (lines_.size() <= kMost) return;
  // Now and then the file is cut back too.
  const bool long_file = lines_.size() > 2 * kMost;
  lines_.erase(lines_.begin(), lines_.end() - static_cast<std::ptrdiff_t>(kMost));
  if (long_file) (void)write_whole(file_, lines_).is_ok();
}

void LineHistory::add(const std::string& line) {
  if (line.empty() || (!lines_.empty() && lines_.back() == line)) return;
  lines_.push_back(line);
  if (lines_.size() > kMost) lines_.erase(lines_.begin());
  if (!file_.empty()) append(line);
}

// For its owner alone: conversations are nobody else's, whoever made the file.
void LineHistory::append(const std::string& line) const {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(file_).parent_path(), ignored);
  const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0) return;
  struct stat info {};
  const bool own = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid();
  if (own && (info.st_mode & 077) != 0) (void)fchmod(fd, 0600);
  const std::string text = to_file(line);
  [[maybe_unused]] const auto written = write(fd, text.data(), text.size());
  close(fd);
}

}  // namespace heed::cli
