#include "cli/raw_terminal.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <mutex>
#include <string_view>

#include "cli/interrupt.h"

namespace heed::cli {
namespace {

// The terminal that is raw now, for the moment in which the process ends while a line is edited:
// another thread gives it back then, and nobody takes it again.
struct Taken {
  std::timed_mutex mutex;
  termios before{};
  int in = -1, out = -1;  // -1: none is raw
  bool over = false;      // the process ends
};

// Never destroyed: the watching thread may outlive main.
Taken& taken() {
  static Taken* const all = new Taken();
  return *all;
}

// A terminal whose output is stopped (Ctrl-S) takes nothing, and a write would wait for it: what it
// does not take at once is left out.
void send(int out, std::string_view text) {
  pollfd ready{out, POLLOUT, 0};
  if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const auto written = write(out, text.data(), text.size());
}

// With the lock. At once (TCSANOW): to drain may wait for ever, like a write.
void take(int in, int out) {
  Taken& t = taken();
  if (t.over || tcgetattr(in, &t.before) != 0) return;
  termios raw = t.before;
  raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (tcsetattr(in, TCSANOW, &raw) != 0) return;
  t.in = in;
  t.out = out;
  send(out, "\x1b[?2004h");
}

// With the lock.
void give_back() {
  Taken& t = taken();
  if (t.in < 0) return;
  send(t.out, "\x1b[?2004l");
  tcsetattr(t.in, TCSANOW, &t.before);
  t.in = -1;
}

// The process ends: nothing here may keep it for long.
void give_back_for_good() {
  Taken& t = taken();
  std::unique_lock lock(t.mutex, std::chrono::milliseconds(50));
  if (!lock) return;
  t.over = true;
  give_back();
}

}  // namespace

RawTerminal::RawTerminal(int in, int out) : in_(in), out_(out) {
  set_farewell(give_back_for_good);
  const std::lock_guard lock(taken().mutex);
  take(in_, out_);
}

RawTerminal::~RawTerminal() {
  if (interrupt_exit_code() == 0) interrupt_token().reset();
  {
    const std::lock_guard lock(taken().mutex);
    give_back();
  }
  send(out_, "\n");
}

void RawTerminal::suspend() {
  {
    const std::lock_guard lock(taken().mutex);
    give_back();
  }
  raise(SIGTSTP);
  const std::lock_guard lock(taken().mutex);
  take(in_, out_);
}

}  // namespace heed::cli
