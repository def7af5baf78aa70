#include "base/block_hash.h"

#include <algorithm>
#include <cstring>

namespace heed {
namespace {

// Odd numbers with bits like coin flips: the fractional parts of the square roots of 2 and 3.
constexpr uint64_t kLane = 0x6a09e667f3bcc909, kJoin = 0xbb67ae8584caa73b;

// Can be undone for every word and every lane.
constexpr uint64_t step(uint64_t lane, uint64_t word, uint64_t factor) {
  lane ^= word;
  lane ^= lane >> 32;
  return lane * factor;
}

// Every bit of a lane reaches every bit of the result.
constexpr uint64_t spread(uint64_t x) {
  x = step(x, 0, kLane);
  x = step(x, 0, kJoin);
  return x ^ x >> 32;
}

}  // namespace

std::string to_hex(const Hash128& hash) {
  std::string hex;
  for (const uint64_t word : {hash.high, hash.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  }
  return hex;
}

BlockHash::BlockHash(uint64_t role) : lanes_{} {
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i] = spread(role * lanes_.size() + i + 1);
}

void BlockHash::blocks(const uint8_t* data, size_t count) {
  std::array<uint64_t, 8> lanes = lanes_;
  for (; count > 0; --count, data += kBlock) {
    std::array<uint64_t, 8> words;
    std::memcpy(words.data(), data, kBlock);
    for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = step(lanes[i], words[i], kLane);
  }
  lanes_ = lanes;
}

void BlockHash::update(const void* data, size_t size) {
  if (size == 0) return;
  const auto* bytes = static_cast<const uint8_t*>(data);
  const size_t filled = size_ % kBlock;
  size_ += size;
  if (filled > 0) {
    const size_t taken = std::min(size, kBlock - filled);
    std::memcpy(pending_.data() + filled, bytes, taken);
    if (filled + taken < kBlock) return;
    blocks(pending_.data(), 1);
    bytes += taken;
    size -= taken;
  }
  blocks(bytes, size / kBlock);
  std::memcpy(pending_.data(), bytes + size / kBlock * kBlock, size % kBlock);
}

Hash128 BlockHash::finish() {
  const size_t filled = size_ % kBlock;
  if (filled > 0) {
    std::fill(pending_.begin() + static_cast<std::ptrdiff_t>(filled), pending_.end(), uint8_t{0});
    blocks(pending_.data(), 1);
  }
  Hash128 hash{size_, ~size_};
  for (const uint64_t lane : lanes_) {
    hash.low = step(hash.low, spread(lane), kJoin);
    hash.high = step(hash.high, spread(lane ^ kJoin), kLane);
  }
  return {spread(hash.low), spread(hash.high)};
}

Hash128 block_hash(const void* data, size_t size, uint64_t role) {
  BlockHash hash(role);
  hash.update(data, size);
  return hash.finish();
}

}  // namespace heed
