// Large memory that is read from end to end: with pages of 4 KiB each of them costs a walk of the
// page tables, and prefetching stops at its end.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace heed {

// Of x86-64, and of arm64 with pages of 4 KiB.
inline constexpr size_t kHugePage = size_t{2} << 20;

// Asks for huge pages where [memory, memory + bytes) holds whole ones. Advice only: without it
// reading is slower, not wrong (`heed doctor` says whether it holds).
inline void advise_huge_pages(void* memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (begin + bytes) / kHugePage * kHugePage;
  if (end > first) (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

}  // namespace heed
