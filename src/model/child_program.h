// Another program, run beside this one with descriptors of our choice and ended when it must be.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "heed/status.h"

namespace heed {

// A descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { reset(); }
  void reset();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Program {
  std::vector<std::string> arguments;  // the first is looked up in PATH
  std::string variable;                // NAME=VALUE in place of the environment's; empty: none
  int in = -1, out = -1, err = -1;     // become its descriptors 0, 1 and 2; -1: /dev/null
  std::string needed_for;              // "models of the Python index need ...": ends the message
};

class ChildProgram {
 public:
  // The child has default signals, none blocked (the command line blocks the ones it waits for, and
  // a blocked SIGTERM would end nobody), and a group of its own, so that what it starts ends too.
  static Result<ChildProgram> start(const Program& program);
  ChildProgram(ChildProgram&& other) noexcept;
  ChildProgram& operator=(ChildProgram&&) = delete;
  ~ChildProgram();  // kills what still runs

  // Exit code, or 128 plus the signal; waits for it.
  Result<int> wait();
  // The same where it has ended, else false in `ended`.
  Result<int> try_wait(bool& ended);
  // To the child and all that it started, also to what outlived the child.
  void signal_group(int number) const;

 private:
  explicit ChildProgram(pid_t pid) : pid_(pid) {}
  Result<int> reap(int options, bool& ended);
  pid_t pid_ = -1;
  bool running_ = true;
};

}  // namespace heed
