#include "cli/interrupt.h"

#include <unistd.h>
#include <csignal>
#include <ctime>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace heed::cli {
namespace {

// Of the 250 ms: what the work gets before it is ended from outside.
constexpr long kGraceNanoseconds = 150'000'000;
// Work that may be stopped and gone on from has answered by then.
constexpr double kImpatienceSeconds = 1;

struct State {
  CancelToken token;
  std::atomic<int> signal{0};
  std::atomic<bool> acknowledged{false};
  std::atomic<bool> survives{false};
  std::atomic<void (*)()> farewell{nullptr};
  std::mutex mutex;
  std::function<std::string()> words;
};

// Never destroyed: the watching thread may outlive main.
State& state() {
  static State* const all = new State();
  return *all;
}

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

[[noreturn]] void end_process(int signal, bool with_words) {
  State& s = state();
  if (void (*const restore)() = s.farewell.load()) restore();
  if (with_words && s.mutex.try_lock()) {
    const std::string text = s.words ? s.words() : std::string("\nheed: interrupted\n");
    // The process ends either way, so a failed write has no consequence.
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
  }
  _exit(128 + signal);
}

void watch() {
  State& s = state();
  const sigset_t set = watched();
  int signal = 0;
  Clock::time_point cancelled_at = Clock::now();
  for (;;) {
    while (sigwait(&set, &signal) != 0) {
    }
    if (signal != SIGINT || !s.survives.load()) break;
    if (!s.token.cancelled()) {
      cancelled_at = Clock::now();
    } else if (seconds_since(cancelled_at) > kImpatienceSeconds) {
      break;
    }
    s.token.cancel();
  }
  s.signal.store(signal);
  s.token.cancel();
  const timespec grace{0, kGraceNanoseconds};
  if (sigtimedwait(&set, nullptr, &grace) > 0) end_process(signal, false);
  if (!s.acknowledged.load()) end_process(signal, true);
  while (sigwait(&set, &signal) != 0) {
  }
  end_process(signal, false);
}

}  // namespace

void watch_interrupts() {
  static std::once_flag once;
  std::call_once(once, [] {
    const sigset_t set = watched();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::thread(watch).detach();
  });
}

CancelToken& interrupt_token() { return state().token; }

int interrupt_exit_code() {
  const int signal = state().signal.load();
  return signal == 0 ? 0 : 128 + signal;
}

void set_last_words(std::function<std::string()> words) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.words = std::move(words);
}

void survive_interrupts(bool on) { state().survives.store(on); }

void set_farewell(void (*restore)()) { state().farewell.store(restore); }

void acknowledge_interrupt() { state().acknowledged.store(true); }

}  // namespace heed::cli
