#include "model/limited_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <new>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"

namespace heed {
namespace {

// Bytes of private writable memory, which RLIMIT_DATA counts.
uint64_t data_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t size = 0, resident = 0, shared = 0, text = 0, lib = 0, data = 0;
  in >> size >> resident >> shared >> text >> lib >> data;
  return data * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void limit(int resource, uint64_t value) {
  const rlimit both{value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

void write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    data += n;
    size -= static_cast<size_t>(n);
  }
}

Result<std::string> within_limits(const char* what, const ChildLimits& limits,
                                  const std::function<Result<std::string>()>& call) {
  return guarded(what, [&]() -> Result<std::string> {
    try {
      return call();
    } catch (const std::bad_alloc&) {
      return exhausted(what, " needs more than the ", limits.memory >> 20, " MiB that it may take");
    }
  });
}

[[noreturn]] void child(int fd, const char* what, const ChildLimits& limits, uint64_t memory,
                        const std::function<Result<std::string>()>& call) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int s : {SIGSEGV, SIGBUS, SIGABRT, SIGXCPU, SIGPIPE}) signal(s, SIG_DFL);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, static_cast<uint64_t>(limits.seconds));
  limit(RLIMIT_DATA, memory);
  const Result<std::string> answer = within_limits(what, limits, call);
  const char code = static_cast<char>(answer.code());
  const std::string& text = answer.is_ok() ? *answer : answer.message();
  write_all(fd, &code, 1);
  write_all(fd, text.data(), text.size());
  _exit(0);  // neither destructors nor buffers of the parent
}

// Everything the child writes, until it closes the pipe.
Status collect(int fd, const char* what, const ChildLimits& limits, std::string& out) {
  const auto deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  std::string piece(1 << 16, '\0');
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      return error(Code::kCorrupt, what, " ran for more than ", limits.seconds, " s");
    }
    pollfd wait{fd, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(left));
    if (ready < 0 && errno != EINTR) return error(Code::kIo, "poll: ", std::strerror(errno));
    if (ready <= 0) continue;
    const ssize_t n = read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error(Code::kIo, "reading from a child: ", std::strerror(errno));
    if (n == 0) return Status::ok();
    out.append(piece, 0, static_cast<size_t>(n));
    if (out.size() > limits.output) {
      return error(Code::kCorrupt, what, " wrote more than ", limits.output >> 20, " MiB");
    }
  }
}

int wait_for_end(pid_t pid) {
  int state = 0;
  while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
  }
  return state;
}

}  // namespace

Result<std::string> run_limited(const char* what, const ChildLimits& limits,
                                const std::function<Result<std::string>()>& call) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return error(Code::kIo, "pipe: ", std::strerror(errno));
  const uint64_t memory = data_bytes() + limits.memory;
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    child(ends[1], what, limits, memory, call);
  }
  const int fault = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return error(Code::kResourceExhausted, what, ": no process for it: ", std::strerror(fault));
  }
  std::string out;
  const Status got = guarded(what, [&] { return collect(ends[0], what, limits, out); });
  close(ends[0]);
  if (!got.is_ok()) kill(pid, SIGKILL);
  const int state = wait_for_end(pid);
  HEED_TRY(got);
  if (WIFSIGNALED(state)) {
    return error(Code::kCorrupt, what, " ended with signal ", WTERMSIG(state), " (",
                 strsignal(WTERMSIG(state)), ")");
  }
  if (out.empty()) return error(Code::kInternal, what, " ended without an answer");
  const auto code = static_cast<Code>(out.front());
  out.erase(0, 1);
  if (code != Code::kOk) return Status(code, std::move(out));
  return out;
}

}  // namespace heed
