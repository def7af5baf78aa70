#include "cli/pull_line.h"

#include <fmt/format.h>

namespace heed::cli {

void PullLine::show(const PullProgress& progress) {
  const Clock::time_point now = Clock::now();
  if (progress.what != what_) {
    what_ = progress.what;
    start_ = now;
    first_ = progress.done;
  }
  std::string text = fmt::format("{}: {}", progress.what, bytes_text(progress.done));
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0.2 ? static_cast<double>(progress.done - first_) / seconds
                                    : 0.0;  // bytes a second
  if (progress.total > 0) {
    const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
    text += fmt::format(" of {} ({:.0f} %)", bytes_text(progress.total), 100 * part);
  }
  if (rate > 0) text += fmt::format(", {}/s", bytes_text(static_cast<uint64_t>(rate)));
  if (rate > 0 && progress.total > progress.done) {
    text +=
        ", " + seconds_text(static_cast<double>(progress.total - progress.done) / rate) + " left";
  }
  line_.show(text);
}

}  // namespace heed::cli
