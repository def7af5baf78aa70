// Runs the real binary and looks at what it prints and how it ends.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "model/pull.h"

namespace heed::test {

using Clock = std::chrono::steady_clock;

struct Finished {
  int code = -1;  // exit code, or 128 + signal
  std::string out, err;
};

// Some containers have no terminals to give.
inline bool has_terminals() {
  int fd[2];
  if (openpty(&fd[0], &fd[1], nullptr, nullptr, nullptr) != 0) return false;
  close(fd[0]);
  close(fd[1]);
  return true;
}

// A child with its three streams; `pty` puts its stderr on a terminal.
class Process {
 public:
  struct Options {
    std::string input;                                     // stdin; empty is /dev/null
    std::vector<std::pair<std::string, std::string>> env;  // set in the child
    bool pty = false;
    bool hold_input = false;  // stdin is a pipe that stays open until close_input()
  };

  explicit Process(std::vector<std::string> arguments) : Process(std::move(arguments), Options{}) {}
  Process(std::vector<std::string> arguments, const Options& options) {
    int out[2], err[2], in = -1;
    EXPECT_EQ(pipe(out), 0);
    if (options.pty) {
      EXPECT_EQ(openpty(&err[0], &err[1], nullptr, nullptr, nullptr), 0);
    } else {
      EXPECT_EQ(pipe(err), 0);
    }
    int held[2] = {-1, -1};
    if (options.hold_input) {
      EXPECT_EQ(pipe2(held, O_CLOEXEC), 0);
      in = held[0];
      held_ = held[1];
    }
    if (in < 0)
      in = options.input.empty() ? open("/dev/null", O_RDONLY) : input_file(options.input);
    arguments.insert(arguments.begin(), HEED_BINARY);
    std::vector<char*> words;
    for (std::string& word : arguments) words.push_back(word.data());
    words.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in, 0);
      dup2(out[1], 1);
      dup2(err[1], 2);
      for (const int fd : {in, out[0], out[1], err[0], err[1]}) close(fd);
      for (const auto& [name, value] : options.env) setenv(name.c_str(), value.c_str(), 1);
      execv(HEED_BINARY, words.data());
      _exit(99);
    }
    close(in);
    close(out[1]);
    close(err[1]);
    out_ = out[0];
    err_ = err[0];
  }

  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    for (const int fd : {out_, err_, held_}) {
      if (fd >= 0) close(fd);
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Reads until stderr (or stdout) contains the text; false at the end of both or after 180 s,
  // which only a machine that is busy with other work takes.
  bool wait_for(const std::string& text, bool in_stdout = false) {
    const auto limit = Clock::now() + std::chrono::seconds(180);
    const std::string& where = in_stdout ? result_.out : result_.err;
    while (where.find(text) == std::string::npos) {
      if (Clock::now() > limit || !read_some()) return where.find(text) != std::string::npos;
    }
    return true;
  }

  // With hold_input.
  void type(const std::string& text) {
    EXPECT_EQ(write(held_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  void close_input() {
    close(held_);
    held_ = -1;
  }

  void signal(int number) { kill(pid_, number); }

  // One that does not end is killed: its test fails, and the next one runs.
  Finished finish() {
    const auto limit = Clock::now() + std::chrono::seconds(300);
    while (read_some()) {
      if (Clock::now() > limit) kill(pid_, SIGKILL);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    result_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result_;
  }

 private:
  static int input_file(const std::string& text) {
    char name[] = "/tmp/heed-test-XXXXXX";
    const int fd = mkstemp(name);
    unlink(name);
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    lseek(fd, 0, SEEK_SET);
    return fd;
  }

  bool read_some() {
    pollfd fds[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    if (out_ < 0 && err_ < 0) return false;
    poll(fds, 2, 1000);
    take(fds[0], out_, result_.out);
    take(fds[1], err_, result_.err);
    return out_ >= 0 || err_ >= 0;
  }

  static void take(const pollfd& ready, int& fd, std::string& text) {
    if (fd < 0 || ready.revents == 0) return;
    char block[4096];
    const ssize_t n = read(fd, block, sizeof block);
    if (n > 0) {
      text.append(block, static_cast<size_t>(n));
    } else {
      close(fd);
      fd = -1;
    }
  }

  pid_t pid_ = -1;
  int out_ = -1, err_ = -1, held_ = -1;
  Finished result_;
};

inline Finished heed(std::vector<std::string> arguments, const Process::Options& options = {}) {
  return Process(std::move(arguments), options).finish();
}

// The smallest model of the catalogue; a machine without it and without a network fails the test.
inline std::string small_model() {
  const Result<std::string> path = ensure_model("smollm2:135m");
  EXPECT_TRUE(path.is_ok()) << path.message();
  return path.is_ok() ? *path : std::string();
}

inline std::string file_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// An empty folder for HEED_HOME.
class EmptyHome {
 public:
  EmptyHome() {
    char name[] = "/tmp/heed-home-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~EmptyHome() { std::filesystem::remove_all(path_); }
  Process::Options options() const {
    return {.input = {}, .env = {{"HEED_HOME", path_}, {"OLLAMA_MODELS", path_ + "/ollama"}}};
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace heed::test
