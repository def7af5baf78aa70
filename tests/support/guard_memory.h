// Memory whose first byte follows, or whose last byte precedes, a page that cannot be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>

#include "kv/arena_source.h"

namespace heed::test {

enum class GuardSide { kBefore, kBehind };

inline const char* side_name(GuardSide side) {
  return side == GuardSide::kBefore ? "before" : "behind";
}
inline void PrintTo(GuardSide side, std::ostream* out) { *out << side_name(side); }

class GuardMemory {
 public:
  GuardMemory(size_t bytes, GuardSide side) {
    const size_t unit = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inside_ = (bytes + unit - 1) / unit * unit;
    total_ = inside_ + 2 * unit;
    void* raw = mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return;
    base_ = static_cast<uint8_t*>(raw);
    if (mprotect(base_ + unit, inside_, PROT_READ | PROT_WRITE) != 0) return;
    data_ = base_ + unit + (side == GuardSide::kBehind ? inside_ - bytes : 0);
  }
  ~GuardMemory() {
    if (base_) munmap(base_, total_);
  }
  GuardMemory(const GuardMemory&) = delete;
  GuardMemory& operator=(const GuardMemory&) = delete;

  void* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }

 private:
  uint8_t* base_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t inside_ = 0, total_ = 0;
};

// One guarded mapping for each page of the store (page bytes are a multiple of 64, so a page that
// ends at the guard is still aligned).
class GuardArenas final : public kv::ArenaSource {
 public:
  explicit GuardArenas(GuardSide side) : side_(side) {}
  void* map(size_t bytes) override {
    const size_t unit = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + unit - 1) / unit * unit;
    void* raw = mmap(nullptr, inside + 2 * unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    auto* base = static_cast<uint8_t*>(raw) + unit;
    if (mprotect(base, inside, PROT_READ | PROT_WRITE) != 0) return nullptr;
    return base + offset(bytes, inside);
  }
  void unmap(void* memory, size_t bytes) override {
    const size_t unit = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + unit - 1) / unit * unit;
    munmap(static_cast<uint8_t*>(memory) - offset(bytes, inside) - unit, inside + 2 * unit);
  }
  size_t arena_bytes() const override { return 1; }  // one page each

 private:
  size_t offset(size_t bytes, size_t inside) const {
    return side_ == GuardSide::kBehind ? inside - bytes : 0;
  }
  GuardSide side_;
};

}  // namespace heed::test
