// Memory of a chosen alignment. Through operator new, so that a test which counts the heap or lets
// its n-th allocation fail sees this memory too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace heed {

struct AlignedDelete {
  std::align_val_t alignment{64};
  void operator()(uint8_t* p) const { ::operator delete(p, alignment); }
};
using AlignedMemory = std::unique_ptr<uint8_t[], AlignedDelete>;

// Not initialised. Null when there is no memory.
inline AlignedMemory allocate_aligned(size_t bytes, size_t alignment = 64) {
  const std::align_val_t at{alignment};
  return {static_cast<uint8_t*>(::operator new(bytes, at, std::nothrow)), AlignedDelete{at}};
}

}  // namespace heed
