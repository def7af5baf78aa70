// A checksum at the speed of memory, for what is too large for SHA-256: pages of saved sessions,
// models by their bytes. It finds accidents and is no protection against a forger.
//
// Eight 64-bit lanes take the words of the input in turn, each by a step that can be undone
// (lane ^= word; lane ^= lane >> 32; lane *= odd), so a change within any one word always changes
// the result, and eight independent multiplications hide each other's latency.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace heed {

struct Hash128 {
  uint64_t low = 0, high = 0;
  bool operator==(const Hash128&) const = default;
};
std::string to_hex(const Hash128& hash);  // 32 lower-case digits

class BlockHash {
 public:
  // Equal bytes in different roles get different sums.
  explicit BlockHash(uint64_t role = 0);
  void update(const void* data, size_t size);
  // Of everything so far; the object is spent afterwards.
  Hash128 finish();

 private:
  static constexpr size_t kBlock = 64;
  void blocks(const uint8_t* data, size_t count);

  std::array<uint64_t, 8> lanes_;
  std::array<uint8_t, kBlock> pending_{};
  uint64_t size_ = 0;
};

Hash128 block_hash(const void* data, size_t size, uint64_t role = 0);

}  // namespace heed
