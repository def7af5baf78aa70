// What counting_heap.h counts and obeys, for the other files of its program.
#pragma once

#include <atomic>
#include <cstdint>

namespace heed::test {

inline std::atomic<int64_t> allocations{0};  // made so far, by all threads
inline std::atomic<int64_t> heap_blocks{0};  // in use now
inline std::atomic<int64_t> heap_bytes{0};   // their usable sizes: at least what was asked for
inline std::atomic<int64_t> heap_peak{0};    // the most of them since it was set
inline std::atomic<int64_t> allocations_left{-1};  // until one fails; -1: none does
inline std::atomic<bool> shortage_lasts{false};    // then all later ones fail too

// The most that a piece of work held at a time. One at a time.
class PeakMeter {
 public:
  PeakMeter() : start_(heap_bytes) { heap_peak = start_; }
  int64_t bytes() const { return heap_peak - start_; }

 private:
  int64_t start_;
};

// Calls `call` with its n-th allocation failing, for n = 0, 1, ... until none failed. Returns how
// many calls did.
template <class Call>
int with_each_allocation_failing(Call&& call) {
  int failures = 0;
  for (int64_t n = 0;; ++n) {
    allocations_left = n;
    call();
    const bool failed = allocations_left.exchange(-1) < 0;
    if (!failed) return failures;
    ++failures;
  }
}

// Within such a call: what surrounds the part that is to fail.
class Untouched {
 public:
  Untouched() : left_(allocations_left.exchange(-1)) {}
  ~Untouched() { allocations_left = left_; }

 private:
  int64_t left_;
};

}  // namespace heed::test
