// The fields of a file that a test wrote, each broken in every way that has broken a reader before.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "gguf_writer.h"

namespace heed::test {

struct Damage {
  const char* name;
  uint64_t (*apply)(uint64_t);
};
inline constexpr Damage kDamages[] = {
    {"zero", [](uint64_t) { return uint64_t{0}; }},
    {"minus_one", [](uint64_t) { return ~uint64_t{0}; }},
    {"max_signed", [](uint64_t) { return uint64_t{0x7FFFFFFFFFFFFFFF}; }},
    {"max_signed_32", [](uint64_t) { return uint64_t{0x7FFFFFFF}; }},
    {"one_more", [](uint64_t v) { return v + 1; }},
    {"one_less", [](uint64_t v) { return v - 1; }},
    {"power_32", [](uint64_t v) { return v + (uint64_t{1} << 32); }},
    {"high_bit", [](uint64_t v) { return v ^ (uint64_t{1} << 63); }},
    {"misaligned", [](uint64_t v) { return v + 4; }},
};

// check(bytes, "tensor[0].offset one_less") for every number of the file and every damage.
template <class Check>
void for_each_damage(const tiny::Writer& good, const Check& check) {
  for (const tiny::Field& field : good.fields) {
    if (field.size == 0 || field.size > sizeof(uint64_t)) continue;
    uint64_t value = 0;
    std::memcpy(&value, good.bytes.data() + field.offset, field.size);
    for (const Damage& damage : kDamages) {
      std::vector<uint8_t> bytes = good.bytes;
      const uint64_t changed = damage.apply(value);
      std::memcpy(bytes.data() + field.offset, &changed, field.size);
      check(bytes, field.name + " " + damage.name);
    }
  }
}

}  // namespace heed::test
