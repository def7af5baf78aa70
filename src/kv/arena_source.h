// Where the page pool gets its arenas: the system, or a test that fails the n-th request or puts
// guard pages around each one.
#pragma once

#include <cstddef>
#include <memory>

namespace heed::kv {

class ArenaSource {
 public:
  virtual ~ArenaSource() = default;
  // `bytes` of zeroed memory, at least 64-byte aligned, or null when there is none.
  virtual void* map(size_t bytes) = 0;
  virtual void unmap(void* memory, size_t bytes) = 0;
  // Arenas hold a power of two of pages, the smallest that reaches this many bytes.
  virtual size_t arena_bytes() const = 0;
};

// Anonymous mappings, aligned to 2 MiB and advised to be huge pages.
std::unique_ptr<ArenaSource> system_arenas();

}  // namespace heed::kv
