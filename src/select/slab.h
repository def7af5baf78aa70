// Scratch cut out of one piece of memory that the caller owns. The same code with no memory counts
// the bytes, so the bound and the use cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heed::select {

class Slab {
 public:
  // Null: only counts. Else memory of bytes() of the same takes, 64-byte aligned.
  explicit Slab(void* memory = nullptr) : memory_(static_cast<uint8_t*>(memory)) {}

  // n elements on their own cache lines, not initialised.
  template <class T>
  T* take(int64_t n) {
    T* at = memory_ != nullptr ? reinterpret_cast<T*>(memory_ + bytes_) : nullptr;
    bytes_ += (static_cast<size_t>(n) * sizeof(T) + 63) / 64 * 64;
    return at;
  }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* memory_;
  size_t bytes_ = 0;
};

}  // namespace heed::select
