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
  int code_bits;     // 3, 4, 5, 6 or 8; of floats 16 or 32
  int scale;         // in the record: f16[32], or bytes in the K types; kNone there: in the head
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

// Blocks have minima, and the head dmin[32] behind its d[32].
inline bool has_super_min(const WeightLayout& layout) {
  return has_super(layout) && layout.min != WeightLayout::kNone;
}

int64_t record_at(const WeightLayout& layout, int64_t b);  // of block b in its group
// From the record of block b to the bytes that are its scales; `which` of two, per 16 inputs.
int scale_at(const WeightLayout& layout, int64_t b, int which);
inline bool two_scales(kernels::WeightType type) {
  return type == kernels::WeightType::kQ6K || type == kernels::WeightType::kQ3K;
}
int64_t group_bytes(const WeightLayout& layout, int64_t inputs);

}  // namespace heed
