// The blocks of GGUF files as codes and scales: 32 inputs of one output at a time.
// Layouts: ggml's block_q4_0 … block_q6_K and block_mxfp4, little endian.
#pragma once

#include <cstdint>

#include "linear/layout.h"

namespace heed {

struct FileBlock {
  uint8_t codes[32];  // unsigned; Q8_0: code + 128
  // Legacy types: f16 scale and min as stored; MXFP4: half its power of two in bf16. K types: the
  // 6-bit (Q6_K, Q3_K, IQ4_XS: signed 8-bit) integers, two scales in Q6_K and Q3_K.
  uint16_t scale[2];
  uint16_t min;
};

// Block b (of 32 inputs) of an output's row.
void read_file_block(kernels::WeightType type, const uint8_t* row, int64_t b, FileBlock& out);

// d and dmin of the super block that block b belongs to (K types).
struct SuperHead {
  uint16_t d;
  uint16_t dmin;
};
SuperHead read_super_head(kernels::WeightType type, const uint8_t* row, int64_t b);

}  // namespace heed
