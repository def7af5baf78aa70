// Rounds of a contender that are long enough to time, the calling thread on a core of its own, all
// threads asleep afterwards.
#pragma once

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/text.h"
#include "eval/linear_problem.h"

namespace heed::bench {

// The cores of this process: one for the calling thread, the others for those that work with it.
// Threads that sleep between rounds are otherwise woken on one core now and then, and a product of
// two then runs at half its rate for some milliseconds (measured with either engine).
class Cores {
 public:
  Cores() {
    if (::sched_getaffinity(0, sizeof all_, &all_) != 0 || CPU_COUNT(&all_) < 2) return;
    int first = 0;
    while (!CPU_ISSET(first, &all_)) ++first;
    CPU_SET(first, &first_);
    CPU_XOR(&others_, &all_, &first_);
    several_ = true;
  }

  // The calling thread to its core, to the others, to all. Threads inherit what their maker has.
  Status take_first() const { return take(first_); }
  Status take_others() const { return take(others_); }
  Status take_all() const { return take(all_); }

 private:
  Status take(const cpu_set_t& set) const {
    if (!several_ || ::sched_setaffinity(0, sizeof set, &set) == 0) return Status::ok();
    return error(Code::kIo, "the system keeps a thread from its core: ", std::strerror(errno));
  }

  cpu_set_t all_{}, first_{}, others_{};
  bool several_ = false;
};

// Whether a thread other than the caller, which runs, is running or waits for a core.
inline bool others_run() {
  int running = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(')');  // "7 (name) R ..."
    running += name_end != std::string::npos && stat.compare(name_end, 3, ") R") == 0;
  }
  return running > 1;
}

// Both engines' idle threads spin for a while before they sleep, heed's some 1e-5 s, libgomp's some
// 1e-2 s by default: on the core that the other one's thread is woken on. (The process's clock does
// not tell: threads on other cores are added to it at their ticks only.)
inline bool all_threads_sleep() {
  for (int nap = 0; nap < 1000; ++nap) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!others_run()) return true;
  }
  return false;
}

// `operations`: of a round of the inner one.
class Paced : public eval::Contender {
 public:
  Paced(eval::LinearContender& inner, double operations, const Cores& cores)
      : inner_(inner),
        cores_(cores),
        repeats_(std::max<int64_t>(
            1, static_cast<int64_t>(kRoundSeconds * kGuessedRate / operations))) {}

  const char* engine() const override { return inner_.engine(); }
  int64_t copies() const override { return inner_.copies() * repeats_; }

  Status round() override {
    HEED_TRY(parked_);
    HEED_TRY(cores_.take_first());
    for (int64_t i = 0; i < repeats_; ++i) HEED_TRY(inner_.round());
    return Status::ok();
  }

  // The roofs are measured between rounds, by threads that may go anywhere.
  void park() override {
    parked_ = cores_.take_all();
    if (all_threads_sleep()) return;
    parked_ = error(Code::kInternal, "threads were still busy a second after their round; run with",
                    " OMP_WAIT_POLICY and GOMP_SPINCOUNT unset");
  }

 private:
  static constexpr double kRoundSeconds = 0.02;  // starting two threads takes 1e-5 to 1e-4
  static constexpr double kGuessedRate = 2e11;   // operations a second

  eval::LinearContender& inner_;
  const Cores& cores_;
  const int64_t repeats_;
  Status parked_;
};

}  // namespace heed::bench
