// Where the fields of a type lie: in the file's blocks, and in a group's records.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/linear.h"

namespace heed {

// Offsets in bytes; kNone where the type has no such field.
struct WeightLayout {
  static constexpr int kNone = -1;
  const char* name;
  int file_bytes;    // of one block of the file
  int file_inputs;   // 32 or 256
  int record_bytes;  // of 32 inputs x 32 outputs, without the head
  int head_bytes;    // per 8 records
  int code_bits;     // 4, 5, 6 or 8; of floats 16 or 32
  int scale;         // in the record: f16[32], or bytes in the K types
  int min;
};

// The file holds floats and no scales.
constexpr bool is_float(kernels::WeightType type) {
  return kernels::input_form(type) != kernels::InputForm::kBytes;
}

const WeightLayout& weight_layout(kernels::WeightType type);

inline constexpr int kWordRow = kernels::kGroupOutputs * 4;  // bytes of one word of all outputs
inline constexpr int kCodesBytes = 4 * kWordRow;             // of the nibbles of a record

// Blocks come in eights that share a head.
inline bool has_super(const WeightLayout& layout) { return layout.head_bytes > 0; }

int64_t record_at(const WeightLayout& layout, int64_t b);  // of block b in its group
int64_t group_bytes(const WeightLayout& layout, int64_t inputs);

}  // namespace heed
