#include "model/child_program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/text.h"

extern char** environ;

namespace heed {
namespace {

class SpawnAttributes {
 public:
  SpawnAttributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

class SpawnFiles {
 public:
  explicit SpawnFiles(const Program& program) {
    posix_spawn_file_actions_init(&actions_);
    const int wanted[] = {program.in, program.out, program.err};
    for (int fd = 0; fd < 3; ++fd) {
      if (wanted[fd] >= 0) {
        posix_spawn_file_actions_adddup2(&actions_, wanted[fd], fd);
      } else {
        posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY,
                                         0);
      }
    }
  }
  ~SpawnFiles() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// This process's environment with `variable` in it; the pointers live as long as both.
std::vector<char*> environment_with(const std::string& variable) {
  std::vector<char*> out;
  const std::string_view name = std::string_view(variable).substr(0, variable.find('=') + 1);
  for (char** e = environ; *e != nullptr; ++e) {
    if (name.empty() || !std::string_view(*e).starts_with(name)) out.push_back(*e);
  }
  if (!variable.empty()) out.push_back(const_cast<char*>(variable.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Result<ChildProgram> ChildProgram::start(const Program& program) {
  std::vector<char*> argv;
  for (const std::string& a : program.arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> env = environment_with(program.variable);
  const SpawnFiles files(program);
  const SpawnAttributes attributes;
  pid_t pid = -1;
  const int code =
      posix_spawnp(&pid, argv[0], files.get(), attributes.get(), argv.data(), env.data());
  if (code == 0) return ChildProgram(pid);
  return error(Code::kIo, program.arguments[0], ": ", std::strerror(code), "; ",
               program.needed_for);
}

ChildProgram::ChildProgram(ChildProgram&& other) noexcept
    : pid_(other.pid_), running_(std::exchange(other.running_, false)) {}

ChildProgram::~ChildProgram() {
  if (!running_) return;
  signal_group(SIGKILL);
  bool ended = false;
  (void)reap(0, ended);
}

Result<int> ChildProgram::reap(int options, bool& ended) {
  int state = 0;
  pid_t got = 0;
  do {
    got = waitpid(pid_, &state, options);
  } while (got < 0 && errno == EINTR);
  ended = got != 0;
  if (got == 0) return 0;
  running_ = false;
  if (got < 0) return error(Code::kIo, "waitpid: ", std::strerror(errno));
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

Result<int> ChildProgram::wait() {
  bool ended = false;
  return reap(0, ended);
}

Result<int> ChildProgram::try_wait(bool& ended) { return reap(WNOHANG, ended); }

void ChildProgram::signal_group(int number) const { kill(-pid_, number); }

}  // namespace heed
