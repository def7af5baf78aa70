// The real binary on a terminal of its own, with a person's fingers at the other end.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace heed::test {

class TerminalProcess {
 public:
  TerminalProcess(std::vector<std::string> arguments,
                  const std::vector<std::pair<std::string, std::string>>& environment) {
    arguments.insert(arguments.begin(), HEED_BINARY);
    std::vector<char*> words;
    for (std::string& word : arguments) words.push_back(word.data());
    words.push_back(nullptr);
    const winsize size{.ws_row = 24, .ws_col = 60, .ws_xpixel = 0, .ws_ypixel = 0};
    pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      setenv("TERM", "xterm", 1);
      for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
      execv(HEED_BINARY, words.data());
      _exit(99);
    }
  }
  ~TerminalProcess() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
  }
  TerminalProcess(const TerminalProcess&) = delete;
  TerminalProcess& operator=(const TerminalProcess&) = delete;

  void type(const std::string& keys) {
    EXPECT_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  void signal(int number) { kill(pid_, number); }

  void resize(unsigned short columns) {
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(ioctl(terminal_, TIOCSWINSZ, &size), 0);
  }

  // As a shell has it: lines, echo and signals. Asked of this end, which has the other's mode.
  bool is_as_before() const {
    termios mode{};
    constexpr tcflag_t kLocal = ICANON | ECHO | ISIG;
    return tcgetattr(terminal_, &mode) == 0 && (mode.c_lflag & kLocal) == kLocal;
  }

  // Reads until the text appears behind what earlier waits found; false after 120 s or at the end.
  bool wait_for(const std::string& text) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    for (;;) {
      const size_t at = seen_.find(text, found_);
      if (at != std::string::npos) {
        found_ = at + text.size();
        return true;
      }
      if (std::chrono::steady_clock::now() > limit || !read_some()) return false;
    }
  }

  // Reads until something more comes.
  bool wait_for_more() {
    const size_t before = seen_.size();
    for (int i = 0; i < 120 && seen_.size() == before; ++i) {
      if (!read_some()) return false;
    }
    return seen_.size() > before;
  }

  // What the terminal got since the last wait.
  std::string rest() const { return seen_.substr(found_); }
  const std::string& seen() const { return seen_; }

  // The exit code, or 128 + signal; one that does not end within 120 s is killed.
  int finish() {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (read_some()) {
      if (std::chrono::steady_clock::now() > limit) signal(SIGKILL);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  bool read_some() {
    pollfd ready{terminal_, POLLIN, 0};
    if (poll(&ready, 1, 1000) == 0) return true;
    char block[4096];
    const ssize_t n = read(terminal_, block, sizeof block);
    if (n <= 0) return false;  // EIO: the other end is gone
    seen_.append(block, static_cast<size_t>(n));
    return true;
  }

  pid_t pid_ = -1;
  int terminal_ = -1;
  std::string seen_;
  size_t found_ = 0;
};

}  // namespace heed::test
