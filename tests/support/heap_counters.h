// What counting_heap.h counts and obeys, for the other files of its program.
#pragma once

#include <atomic>
#include <cstdint>

namespace heed::test {

inline std::atomic<int64_t> allocations{0};  // made so far, by all threads
inline std::atomic<int64_t> heap_blocks{0};  // in use now
inline std::atomic<int64_t> heap_bytes{0};   // their usable sizes: at least what was asked for
inline std::atomic<int64_t> allocations_left{-1};  // until one fails; -1: none does
inline std::atomic<bool> shortage_lasts{false};    // then all later ones fail too

}  // namespace heed::test
