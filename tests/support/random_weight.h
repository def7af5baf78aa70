// Packed weights of any type with values as trained ones have, made without a quantiser.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/random.h"
#include "linear/weight.h"

namespace heed::test {

inline uint16_t half(float x) {  // of a small positive normal number
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return static_cast<uint16_t>(((u >> 23) - 112) << 10 | (u >> 13 & 0x3FF));
}

inline bool holds_floats(WeightType type) {
  return kernels::input_form(type) != kernels::InputForm::kBytes;
}

// Random values near 0.05 of either sign, in the type's own bytes.
inline void fill_floats(WeightType type, uint64_t seed, std::vector<uint8_t>& file) {
  const size_t bytes = type == WeightType::kF32 ? 4 : 2;
  for (size_t i = 0; i < file.size() / bytes; ++i) {
    const auto magnitude = static_cast<float>(0.02 + 0.03 * random_uniform(seed, i));
    const uint32_t sign = random_bits(seed + 1, i) & 1;
    uint32_t word;
    std::memcpy(&word, &magnitude, 4);
    word |= sign << 31;
    uint16_t short_word = static_cast<uint16_t>(word >> 16);
    if (type == WeightType::kF16) short_word = static_cast<uint16_t>(half(magnitude) | sign << 15);
    if (bytes == 4) {
      std::memcpy(file.data() + 4 * i, &word, 4);
    } else {
      std::memcpy(file.data() + 2 * i, &short_word, 2);
    }
  }
}

// Random codes with scales near 0.01, as trained weights have.
inline PackedWeight random_weight(WeightType type, Precision precision, int64_t outputs,
                                  int64_t inputs, uint64_t seed) {
  const int64_t row = file_row_bytes(type, inputs);
  std::vector<uint8_t> file(static_cast<size_t>(row * outputs));
  for (size_t i = 0; i < file.size(); ++i) file[i] = static_cast<uint8_t>(random_bits(seed, i));
  const int64_t block = file_row_bytes(type, file_block_inputs(type));
  if (holds_floats(type)) fill_floats(type, seed, file);
  for (size_t i = 0; !holds_floats(type) && i < file.size(); i += static_cast<size_t>(block)) {
    if (type == WeightType::kMxfp4) {
      file[i] = static_cast<uint8_t>(118 + i % 5);
      continue;
    }
    const uint16_t d = half(0.01f + 0.001f * static_cast<float>(i % 7));
    const size_t at = type == WeightType::kQ6K ? i + 208 : type == WeightType::kQ3K ? i + 108 : i;
    std::memcpy(file.data() + at, &d, 2);
    const bool has_min = type == WeightType::kQ4_1 || type == WeightType::kQ5_1 ||
                         type == WeightType::kQ4K || type == WeightType::kQ5K;
    if (has_min) std::memcpy(file.data() + at + 2, &d, 2);
  }
  auto weight = PackedWeight::create(type, outputs, inputs, precision);
  EXPECT_TRUE(weight.is_ok()) << weight.message();
  weight->fill(file.data(), 0, weight->groups());
  return std::move(*weight);
}

}  // namespace heed::test
