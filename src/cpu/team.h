// A team of threads that runs one function at a time, and the barrier its members share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

namespace heed::cpu {

// Barrier with a generation count. Spins for a bounded time, then waits on the atomic (futex), so
// that an oversubscribed machine makes progress. Works for threads of any origin, ggml's included.
class Barrier {
 public:
  // Returns when `count` threads have called wait(count). count = 1 returns at once.
  void wait(int count);

 private:
  std::atomic<int> arrived_{0};
  std::atomic<int> generation_{0};
};

// Threads of heed's own, for use outside a ggml graph (kernel benchmarks, tests, selection tools).
class Team {
 public:
  // >= 1; the caller is member 0. Throws std::system_error, without a thread left behind, when the
  // system gives no thread.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const;
  // Calls fn(member, size) once on every member and returns when all have returned.
  // fn must not throw.
  void run(const std::function<void(int, int)>& fn);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed::cpu
