// What the person sees: notes and progress on stderr, results on stdout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/clock.h"
#include "base/units.h"
#include "heed/status.h"

namespace heed::cli {

bool is_terminal(int fd);
// A terminal, and NO_COLOR is not set to anything.
bool use_color(int fd);

// Foreign text that cannot steer a terminal: control characters as \x1b, newlines and tabs kept,
// bytes that are not UTF-8 as U+FFFD.
std::string printable(std::string_view text);

// "heed: text" on stderr.
void note(std::string_view text);
// The same as an error; returns the exit code for it.
int fail(const Status& status);
int usage_error(std::string_view verb, std::string_view message);

// One JSON value and a newline on stdout; strings that are not UTF-8 are repaired.
void print_json(const nlohmann::ordered_json& value);

// A number, or null where the system does not tell it.
nlohmann::ordered_json known(const std::optional<uint64_t>& bytes);

// "2.1 s", "4m10s".
std::string seconds_text(double seconds);

// A line that is rewritten in place on a terminal; elsewhere, when forced, at most a line a second.
class ProgressLine {
 public:
  enum class Mode { kOff, kOnTerminal, kAlways };
  explicit ProgressLine(Mode mode);
  ~ProgressLine() { clear(); }
  // Shown when the last one is some time ago, or at once.
  void show(const std::string& text, bool at_once = false);
  void clear();
  bool enabled() const { return in_place_ || lines_; }

 private:
  bool in_place_ = false;
  bool lines_ = false;
  size_t width_ = 0;  // characters on the screen now
  Clock::time_point last_{};
};

}  // namespace heed::cli
