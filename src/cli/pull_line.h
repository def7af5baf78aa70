// The progress line of downloads: bytes, rate and time left.
#pragma once

#include <string>

#include "base/clock.h"
#include "cli/terminal.h"
#include "model/pull.h"

namespace heed::cli {

class PullLine {
 public:
  explicit PullLine(ProgressLine::Mode mode) : line_(mode) {}
  void show(const PullProgress& progress);

 private:
  ProgressLine line_;
  std::string what_;
  Clock::time_point start_{};
  uint64_t first_ = 0;  // bytes that a continued download began with
};

}  // namespace heed::cli
