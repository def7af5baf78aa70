// The least memory with which something fits, by asking.
#pragma once

#include <cstdint>

#include "session/available_memory.h"

namespace heed::test {

// `fits()` is monotone in the memory that the process may take, and holds with 1 TiB.
template <class Fits>
uint64_t least_memory(const Fits& fits) {
  uint64_t too_little = 0, enough = uint64_t{1} << 40;
  while (enough - too_little > 1) {
    const uint64_t middle = too_little + (enough - too_little) / 2;
    const ScopedAvailableMemory some(middle);
    (fits() ? enough : too_little) = middle;
  }
  return enough;
}

}  // namespace heed::test
