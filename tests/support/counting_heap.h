// The heap of a test program, counted, with an n-th allocation that fails. Replaces operator new of
// the whole executable: included by one file of it at most.
#pragma once

#include <malloc.h>

#include <cstddef>
#include <cstdlib>
#include <new>

#include "heap_counters.h"

namespace heed::test {

// Null when it is this allocation's turn to fail. Unless the shortage lasts exactly one does: what
// handles the failure may allocate again.
[[gnu::noinline]] inline void* heap_allocate(size_t bytes, size_t alignment) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (allocations_left.load(std::memory_order_relaxed) >= 0 && allocations_left.fetch_sub(1) == 0) {
    if (shortage_lasts) allocations_left = 0;
    return nullptr;
  }
  const size_t size = bytes > 0 ? bytes : 1;
  void* memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory != nullptr) {
    heap_blocks.fetch_add(1, std::memory_order_relaxed);
    const auto more = static_cast<int64_t>(malloc_usable_size(memory));
    const int64_t now = heap_bytes.fetch_add(more, std::memory_order_relaxed) + more;
    for (int64_t peak = heap_peak; peak < now && !heap_peak.compare_exchange_weak(peak, now);) {
    }
  }
  return memory;
}

[[gnu::noinline]] inline void heap_free(void* memory) noexcept {
  if (memory == nullptr) return;
  heap_blocks.fetch_sub(1, std::memory_order_relaxed);
  heap_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)), std::memory_order_relaxed);
  std::free(memory);
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
HEED_HEAP void operator delete(void* p) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete[](void* p) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete(void* p, size_t) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete[](void* p, size_t) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete(void* p, std::align_val_t) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete[](void* p, std::align_val_t) noexcept { heed::test::heap_free(p); }
HEED_HEAP void operator delete(void* p, size_t, std::align_val_t) noexcept {
  heed::test::heap_free(p);
}
HEED_HEAP void operator delete[](void* p, size_t, std::align_val_t) noexcept {
  heed::test::heap_free(p);
}
#undef HEED_HEAP
