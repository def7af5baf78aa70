#include "cpu/team.h"

#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace heed::cpu {
namespace {

// Pause instructions: meant to outlast the spread of balanced work inside one step and to stay well
// below a time slice, so that an oversubscribed machine soon gives the core away.
constexpr int kSpins = 2000;

inline void pause_once() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Returns once `value` differs from `old`: spins, then sleeps on the futex.
void wait_while(const std::atomic<int>& value, int old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause_once();
  }
  while (value.load(std::memory_order_acquire) == old) {
    value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

// The generation is read before arriving: nobody can advance it until this thread has arrived, so a
// fast thread that enters the next wait cannot be confused with this one.
void Barrier::wait(int count) {
  if (count <= 1) return;
  const int generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == count - 1) {
    arrived_.store(0, std::memory_order_relaxed);  // before the release below
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  wait_while(generation_, generation);
}

struct Team::Impl {
  std::vector<std::thread> threads;
  const std::function<void(int, int)>* job = nullptr;
  std::atomic<int> round{0};
  Barrier done;
  bool stop = false;  // written before `round` is released
  int size = 1;

  void work(int member) {
    int seen = 0;
    for (;;) {
      wait_while(round, seen);
      seen = round.load(std::memory_order_acquire);
      if (stop) return;
      (*job)(member, size);
      done.wait(size);
    }
  }

  void finish() {
    stop = true;
    start_round();
    for (std::thread& thread : threads) thread.join();
  }

  void start_round() {
    round.fetch_add(1, std::memory_order_release);
    round.notify_all();
  }
};

Team::Team(int threads) : impl_(std::make_unique<Impl>()) {
  impl_->size = threads < 1 ? 1 : threads;
  impl_->threads.reserve(static_cast<size_t>(impl_->size - 1));
  try {
    for (int i = 1; i < impl_->size; ++i) {
      impl_->threads.emplace_back([this, i] { impl_->work(i); });
    }
  } catch (...) {  // a joinable thread must not be destroyed
    impl_->finish();
    throw;
  }
}

Team::~Team() { impl_->finish(); }

int Team::size() const { return impl_->size; }

void Team::run(const std::function<void(int, int)>& fn) {
  if (impl_->size == 1) {
    fn(0, 1);
    return;
  }
  impl_->job = &fn;
  impl_->start_round();
  fn(0, impl_->size);
  impl_->done.wait(impl_->size);
}

}  // namespace heed::cpu
