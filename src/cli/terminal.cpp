#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "cli/verb.h"

namespace heed::cli {

bool is_terminal(int fd) { return isatty(fd) == 1; }

bool use_color(int fd) {
  const char* off = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term != nullptr && std::string_view(term) == "dumb";
  return is_terminal(fd) && !dumb && (off == nullptr || *off == '\0');
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const int length = utf8_character(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length <= 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    // C0, DEL and C1 (U+0080 to U+009F, which some terminals obey).
    const bool c1 = length == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if ((first < 0x20 && first != '\n' && first != '\t') || first == 0x7F) {
      out += fmt::format("\\x{:02x}", first);
    } else if (c1) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[1]));
    } else {
      out.append(text.substr(0, static_cast<size_t>(length)));
    }
    text.remove_prefix(static_cast<size_t>(length));
  }
  return out;
}

void note(std::string_view text) {
  const std::string line = "heed: " + printable(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

int fail(const Status& status) {
  const bool color = use_color(STDERR_FILENO);
  const std::string line = fmt::format("heed: {}error:{} {}\n", color ? "\x1b[31m" : "",
                                       color ? "\x1b[0m" : "", printable(status.message()));
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  return kFailed;
}

int usage_error(std::string_view verb, std::string_view message) {
  const std::string command = verb.empty() ? "heed" : fmt::format("heed {}", verb);
  const std::string line =
      fmt::format("{}: {}\ntry '{} --help'\n", command, printable(message), command);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  return kUsage;
}

nlohmann::ordered_json known(const std::optional<uint64_t>& bytes) {
  return bytes ? nlohmann::ordered_json(*bytes) : nlohmann::ordered_json();
}

void print_json(const nlohmann::ordered_json& value) {
  const std::string text =
      value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  const auto whole = static_cast<int64_t>(seconds);
  return fmt::format("{}m{:02}s", whole / 60, whole % 60);
}

ProgressLine::ProgressLine(Mode mode) {
  in_place_ = mode != Mode::kOff && is_terminal(STDERR_FILENO);
  lines_ = mode == Mode::kAlways && !in_place_;
}

void ProgressLine::show(const std::string& text, bool at_once) {
  if (!enabled()) return;
  const Clock::time_point now = Clock::now();
  const auto pause = std::chrono::milliseconds(in_place_ ? 50 : 1000);
  if (!at_once && now - last_ < pause) return;
  last_ = now;
  std::string line = printable(text);
  if (lines_) {
    line += '\n';
  } else {
    // Spaces instead of an erase sequence: nothing but text and \r reaches the terminal.
    const size_t size = line.size();
    if (size < width_) line.append(width_ - size, ' ');
    width_ = size;
    line.insert(0, "\r");
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (width_ == 0) return;
  std::string line(width_ + 2, ' ');
  line.front() = line.back() = '\r';
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  width_ = 0;
}

}  // namespace heed::cli
