// The file's blocks written from codes and scales, as src/linear/file_block.h reads them.
#pragma once

#include <cstring>

#include "linear/file_block.h"
#include "linear/words.h"

namespace heed::test {

using kernels::WeightType;

struct LegacyFields {
  bool min;
  bool fifth;
};

inline void write_legacy(LegacyFields kind, uint8_t* block, const FileBlock& in) {
  uint8_t* const bits_at = block + (kind.min ? 4 : 2);
  uint8_t* const nibbles = bits_at + (kind.fifth ? 4 : 0);
  store_u16(block, in.scale[0]);
  if (kind.min) store_u16(block + 2, in.min);
  for (int i = 0; i < 16; ++i) {
    nibbles[i] = static_cast<uint8_t>((in.codes[i] & 15) | (in.codes[16 + i] & 15) << 4);
  }
  if (!kind.fifth) return;
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(in.codes[i] >> 4) << i;
  store_u32(bits_at, bits);
}

inline void write_mxfp4(uint8_t* block, const FileBlock& in) {
  // The scale is 2^(exponent - 128) in bf16; the two smallest are denormal.
  const uint16_t scale = in.scale[0];
  const int exponent = scale >= 0x80 ? (scale >> 7) + 1 : scale == 0x40 ? 1 : 0;
  block[0] = static_cast<uint8_t>(exponent);
  for (int i = 0; i < 16; ++i) {
    block[1 + i] = static_cast<uint8_t>((in.codes[i] & 15) | (in.codes[16 + i] & 15) << 4);
  }
}

inline void write_scale_min(uint8_t* s, int j, const FileBlock& in) {
  if (j < 4) {
    s[j] = static_cast<uint8_t>((s[j] & 0xC0) | (in.scale[0] & 63));
    s[j + 4] = static_cast<uint8_t>((s[j + 4] & 0xC0) | (in.min & 63));
  } else {
    s[j + 4] = static_cast<uint8_t>((in.scale[0] & 15) | (in.min & 15) << 4);
    s[j - 4] = static_cast<uint8_t>((s[j - 4] & 0x3F) | (in.scale[0] >> 4) << 6);
    s[j] = static_cast<uint8_t>((s[j] & 0x3F) | (in.min >> 4) << 6);
  }
}

inline void write_q45k(uint8_t* super, bool fifth, int j, const FileBlock& in) {
  write_scale_min(super + 4, j, in);
  uint8_t* codes = super + 16 + (fifth ? 32 : 0) + j / 2 * 32;
  for (int i = 0; i < 32; ++i) {
    const int shift = j % 2 * 4;
    codes[i] = static_cast<uint8_t>((codes[i] & ~(15 << shift)) | (in.codes[i] & 15) << shift);
    if (fifth) {
      super[16 + i] =
          static_cast<uint8_t>((super[16 + i] & ~(1 << j)) | ((in.codes[i] >> 4) & 1) << j);
    }
  }
}

inline void write_q6k(uint8_t* super, int j, const FileBlock& in) {
  const int n = j / 4, k = j % 4;
  for (int i = 0; i < 32; ++i) {
    uint8_t& low = super[64 * n + 32 * (k % 2) + i];
    uint8_t& high = super[128 + 32 * n + i];
    const int shift = k / 2 * 4;
    low = static_cast<uint8_t>((low & ~(15 << shift)) | (in.codes[i] & 15) << shift);
    high = static_cast<uint8_t>((high & ~(3 << (2 * k))) | (in.codes[i] >> 4) << (2 * k));
  }
  super[192 + 2 * j] = static_cast<uint8_t>(in.scale[0]);
  super[192 + 2 * j + 1] = static_cast<uint8_t>(in.scale[1]);
}

inline void write_q3k(uint8_t* super, int j, const FileBlock& in) {
  const int n = j / 4, k = j % 4;
  for (int i = 0; i < 32; ++i) {
    super[32 + 32 * n + i] |= static_cast<uint8_t>((in.codes[i] & 3) << (2 * k));
    super[i] |= static_cast<uint8_t>((in.codes[i] >> 2) << j);
  }
  for (int s = 0; s < 2; ++s) {
    const int at = 2 * j + s, scale = static_cast<int8_t>(in.scale[s]) + 32;
    super[96 + at % 8] |= static_cast<uint8_t>((scale & 15) << (at / 8 * 4));
    super[104 + at % 4] |= static_cast<uint8_t>((scale >> 4) << (at / 4 * 2));
  }
}

inline void write_iq4xs(uint8_t* super, int j, const FileBlock& in) {
  const int scale = static_cast<int8_t>(in.scale[0]) + 32;
  super[4 + j / 2] |= static_cast<uint8_t>((scale & 15) << (j % 2 * 4));
  store_u16(super + 2, static_cast<uint16_t>(load_u16(super + 2) | (scale >> 4) << (2 * j)));
  for (int i = 0; i < 16; ++i) {
    super[8 + 16 * j + i] = static_cast<uint8_t>(in.codes[i] | in.codes[16 + i] << 4);
  }
}

inline uint8_t* file_block_at(WeightType type, uint8_t* row, int64_t b) {
  const WeightLayout& layout = weight_layout(type);
  return row + b * 32 / layout.file_inputs * layout.file_bytes;
}

inline void write_file_block(WeightType type, uint8_t* row, int64_t b, const FileBlock& in) {
  uint8_t* block = file_block_at(type, row, b);
  const int j = static_cast<int>(b % kernels::kSuperBlocks);
  switch (type) {
    case WeightType::kQ4_0:
    case WeightType::kIq4Nl: return write_legacy({false, false}, block, in);
    case WeightType::kQ4_1: return write_legacy({true, false}, block, in);
    case WeightType::kQ5_0: return write_legacy({false, true}, block, in);
    case WeightType::kQ5_1: return write_legacy({true, true}, block, in);
    case WeightType::kQ8_0:
      store_u16(block, in.scale[0]);
      for (int i = 0; i < 32; ++i) block[2 + i] = in.codes[i] ^ 0x80;
      return;
    case WeightType::kMxfp4: return write_mxfp4(block, in);
    case WeightType::kQ4K: return write_q45k(block, false, j, in);
    case WeightType::kQ5K: return write_q45k(block, true, j, in);
    case WeightType::kQ6K: return write_q6k(block, j, in);
    case WeightType::kQ3K: return write_q3k(block, j, in);
    case WeightType::kIq4Xs: return write_iq4xs(block, j, in);
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBf16: return;
  }
}

inline void write_super_head(WeightType type, uint8_t* row, int64_t b, SuperHead head) {
  uint8_t* super = file_block_at(type, row, b);
  if (type == WeightType::kQ6K) return store_u16(super + 208, head.d);
  if (type == WeightType::kQ3K) return store_u16(super + 108, head.d);
  if (type == WeightType::kIq4Xs) return store_u16(super, head.d);
  store_u16(super, head.d);
  store_u16(super + 2, head.dmin);
}

}  // namespace heed::test
