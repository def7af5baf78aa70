#include "kv/arena_source.h"

#include <sys/mman.h>

#include <cstdint>

#include "base/huge_pages.h"

namespace heed::kv {
namespace {

// mmap works in these; also right (only less tight) where the system's page is larger.
constexpr size_t kMapUnit = size_t{64} << 10;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

class SystemArenas final : public ArenaSource {
 public:
  void* map(size_t bytes) override {
    const size_t size = round_up(bytes, kMapUnit);
    const size_t padded = size + kHugePage;  // room to align
    void* raw = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    const auto begin = reinterpret_cast<uintptr_t>(raw);
    const size_t before = round_up(begin, kHugePage) - begin;
    char* memory = static_cast<char*>(raw) + before;
    if (before > 0) munmap(raw, before);
    const size_t behind = padded - before - size;
    if (behind > 0) munmap(memory + size, behind);
    // A decode step walks every page of every list once: with pages of 4 KiB each 16 KiB of keys
    // and values would cost four walks of the page tables.
    advise_huge_pages(memory, size);
    return memory;
  }

  void unmap(void* memory, size_t bytes) override { munmap(memory, round_up(bytes, kMapUnit)); }

  size_t arena_bytes() const override { return kHugePage; }
};

}  // namespace

std::unique_ptr<ArenaSource> system_arenas() { return std::make_unique<SystemArenas>(); }

}  // namespace heed::kv
