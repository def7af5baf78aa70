// Words at any address; files and records are little endian, as the processors that heed knows are.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace heed {

static_assert(std::endian::native == std::endian::little);

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t x;
  std::memcpy(&x, p, 2);
  return x;
}
inline void store_u16(uint8_t* p, uint16_t x) { std::memcpy(p, &x, 2); }

inline uint32_t load_u32(const uint8_t* p) {
  uint32_t x;
  std::memcpy(&x, p, 4);
  return x;
}
inline void store_u32(uint8_t* p, uint32_t x) { std::memcpy(p, &x, 4); }

}  // namespace heed
