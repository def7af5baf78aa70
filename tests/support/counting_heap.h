// The heap of a test program, counted, with an n-th allocation that fails. Replaces operator new of
// the whole executable: included by one file of it at most.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace heed::test {

inline std::atomic<int64_t> allocations{0};        // made so far, by all threads
inline std::atomic<int64_t> allocations_left{-1};  // until one fails; -1: none does
inline std::atomic<bool> shortage_lasts{false};    // then all later ones fail too

// Null when it is this allocation's turn to fail. Unless the shortage lasts exactly one does: what
// handles the failure may allocate again.
[[gnu::noinline]] inline void* heap_allocate(size_t bytes, size_t alignment) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (allocations_left.load(std::memory_order_relaxed) >= 0 && allocations_left.fetch_sub(1) == 0) {
    if (shortage_lasts) allocations_left = 0;
    return nullptr;
  }
  const size_t size = bytes > 0 ? bytes : 1;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

[[gnu::noinline]] inline void* heap_allocate_or_throw(size_t bytes, size_t alignment) {
  void* memory = heap_allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace heed::test

// Not inlined: the compiler would see free() on memory of operator new and warn.
#define HEED_HEAP [[gnu::noinline]]
HEED_HEAP void* operator new(size_t n) { return heed::test::heap_allocate_or_throw(n, 1); }
HEED_HEAP void* operator new[](size_t n) { return heed::test::heap_allocate_or_throw(n, 1); }
HEED_HEAP void* operator new(size_t n, std::align_val_t a) {
  return heed::test::heap_allocate_or_throw(n, static_cast<size_t>(a));
}
HEED_HEAP void* operator new[](size_t n, std::align_val_t a) {
  return heed::test::heap_allocate_or_throw(n, static_cast<size_t>(a));
}
HEED_HEAP void* operator new(size_t n, const std::nothrow_t&) noexcept {
  return heed::test::heap_allocate(n, 1);
}
HEED_HEAP void* operator new[](size_t n, const std::nothrow_t&) noexcept {
  return heed::test::heap_allocate(n, 1);
}
HEED_HEAP void* operator new(size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return heed::test::heap_allocate(n, static_cast<size_t>(a));
}
HEED_HEAP void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return heed::test::heap_allocate(n, static_cast<size_t>(a));
}
HEED_HEAP void operator delete(void* p) noexcept { std::free(p); }
HEED_HEAP void operator delete[](void* p) noexcept { std::free(p); }
HEED_HEAP void operator delete(void* p, size_t) noexcept { std::free(p); }
HEED_HEAP void operator delete[](void* p, size_t) noexcept { std::free(p); }
HEED_HEAP void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
HEED_HEAP void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
HEED_HEAP void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
HEED_HEAP void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }
#undef HEED_HEAP
