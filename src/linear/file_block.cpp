#include "linear/file_block.h"

#include <cstring>

#include "linear/words.h"

namespace heed {
namespace {

using kernels::WeightType;

// --- legacy: d, [m], [32 fifth bits], 16 bytes of nibbles (inputs 0..15 low, 16..31 high) -----

struct Legacy {
  bool min;
  bool fifth;
  int fifth_at() const { return min ? 4 : 2; }
  int nibbles_at() const { return fifth_at() + (fifth ? 4 : 0); }
};

void read_legacy(Legacy kind, const uint8_t* block, FileBlock& out) {
  out.scale[0] = load_u16(block);
  if (kind.min) out.min = load_u16(block + 2);
  const uint8_t* nibbles = block + kind.nibbles_at();
  for (int i = 0; i < 16; ++i) {
    out.codes[i] = nibbles[i] & 15;
    out.codes[16 + i] = nibbles[i] >> 4;
  }
  if (!kind.fifth) return;
  uint32_t bits;
  std::memcpy(&bits, block + kind.fifth_at(), 4);
  for (int i = 0; i < 32; ++i) {
    out.codes[i] |= static_cast<uint8_t>(((bits >> i) & 1) << 4);
  }
}

// --- MXFP4: the exponent e of 2^(e - 127), 16 bytes of nibbles ---------------------------------

// 2^(e - 128) in bf16; the two smallest are denormal.
uint16_t half_power(uint8_t e) { return static_cast<uint16_t>(e >= 2 ? (e - 1) << 7 : 0x20 << e); }

void read_mxfp4(const uint8_t* block, FileBlock& out) {
  out.scale[0] = half_power(block[0]);
  for (int i = 0; i < 16; ++i) {
    out.codes[i] = block[1 + i] & 15;
    out.codes[16 + i] = block[1 + i] >> 4;
  }
}

// --- K types: 256 inputs; codes of 64 inputs share 32 bytes, low nibbles first -----------------

// Eight 6-bit scales and minima in 12 bytes: 0..3 in the low bits of bytes 0..3 and 4..7; 4..7 in
// the nibbles of bytes 8..11 with their upper two bits on top of the former.
void read_scale_min(const uint8_t* s, int j, FileBlock& out) {
  if (j < 4) {
    out.scale[0] = s[j] & 63;
    out.min = s[j + 4] & 63;
  } else {
    out.scale[0] = static_cast<uint16_t>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
    out.min = static_cast<uint16_t>((s[j + 4] >> 4) | (s[j] >> 6) << 4);
  }
}

// block_q4_K: d, dmin, scales[12], qs[128]; block_q5_K: d, dmin, scales[12], qh[32], qs[128].
void read_q45k(const uint8_t* super, bool fifth, int j, FileBlock& out) {
  read_scale_min(super + 4, j, out);
  const uint8_t* codes = super + 16 + (fifth ? 32 : 0) + j / 2 * 32;
  for (int i = 0; i < 32; ++i) {
    out.codes[i] = j % 2 == 0 ? codes[i] & 15 : codes[i] >> 4;
    if (fifth) out.codes[i] |= static_cast<uint8_t>(((super[16 + i] >> j) & 1) << 4);
  }
}

// block_q6_K: ql[128], qh[64], scales[16], d. Inputs 128n + 32k + i: nibble (k / 2) of
// ql[64n + 32 (k % 2) + i], bits 2k of qh[32n + i].
void read_q6k(const uint8_t* super, int j, FileBlock& out) {
  const int n = j / 4, k = j % 4;
  for (int i = 0; i < 32; ++i) {
    const int low = (super[64 * n + 32 * (k % 2) + i] >> (k / 2 * 4)) & 15;
    const int high = (super[128 + 32 * n + i] >> (2 * k)) & 3;
    out.codes[i] = static_cast<uint8_t>(low | high << 4);
  }
  out.scale[0] = super[192 + 2 * j];
  out.scale[1] = super[192 + 2 * j + 1];
}

// block_q3_K: hmask[32], qs[64], scales[12], d. Inputs 128n + 32k + i: bits 2k of qs[32n + i], and
// bit 4n + k of hmask[i] on top. Sixteen 6-bit scales less 32: their low nibbles in bytes 0..7 (the
// later eight in the high ones), their upper two bits in bytes 8..11.
void read_q3k(const uint8_t* super, int j, FileBlock& out) {
  const int n = j / 4, k = j % 4;
  for (int i = 0; i < 32; ++i) {
    const int low = super[32 + 32 * n + i] >> (2 * k) & 3;
    out.codes[i] = static_cast<uint8_t>(low | (super[i] >> j & 1) << 2);
  }
  const uint8_t* scales = super + 96;
  for (int s = 0; s < 2; ++s) {
    const int at = 2 * j + s;
    const int low = scales[at % 8] >> (at / 8 * 4) & 15;
    const int high = scales[8 + at % 4] >> (at / 4 * 2) & 3;
    out.scale[s] = static_cast<uint8_t>((low | high << 4) - 32);
  }
}

// block_iq4_xs: d, the upper two bits of eight 6-bit scales less 32, their nibbles, qs[128].
void read_iq4xs(const uint8_t* super, int j, FileBlock& out) {
  const int low = super[4 + j / 2] >> (j % 2 * 4) & 15;
  const int high = load_u16(super + 2) >> (2 * j) & 3;
  out.scale[0] = static_cast<uint8_t>((low | high << 4) - 32);
  for (int i = 0; i < 16; ++i) {
    out.codes[i] = super[8 + 16 * j + i] & 15;
    out.codes[16 + i] = super[8 + 16 * j + i] >> 4;
  }
}

int64_t at(WeightType type, int64_t b) {
  const WeightLayout& layout = weight_layout(type);
  return b * 32 / layout.file_inputs * layout.file_bytes;
}

}  // namespace

void read_file_block(WeightType type, const uint8_t* row, int64_t b, FileBlock& out) {
  const uint8_t* block = row + at(type, b);
  const int j = static_cast<int>(b % kernels::kSuperBlocks);
  switch (type) {
    case WeightType::kQ4_0:
    case WeightType::kIq4Nl: return read_legacy({false, false}, block, out);
    case WeightType::kQ4_1: return read_legacy({true, false}, block, out);
    case WeightType::kQ5_0: return read_legacy({false, true}, block, out);
    case WeightType::kQ5_1: return read_legacy({true, true}, block, out);
    case WeightType::kQ8_0:
      out.scale[0] = load_u16(block);
      for (int i = 0; i < 32; ++i) out.codes[i] = block[2 + i] ^ 0x80;
      return;
    case WeightType::kMxfp4: return read_mxfp4(block, out);
    case WeightType::kQ4K: return read_q45k(block, false, j, out);
    case WeightType::kQ5K: return read_q45k(block, true, j, out);
    case WeightType::kQ6K: return read_q6k(block, j, out);
    case WeightType::kQ3K: return read_q3k(block, j, out);
    case WeightType::kIq4Xs: return read_iq4xs(block, j, out);
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBf16: return;  // no codes (is_float)
  }
}

SuperHead read_super_head(WeightType type, const uint8_t* row, int64_t b) {
  const uint8_t* super = row + at(type, b);
  if (type == WeightType::kQ6K) return {load_u16(super + 208), 0};
  if (type == WeightType::kQ3K) return {load_u16(super + 108), 0};
  if (type == WeightType::kIq4Xs) return {load_u16(super), 0};
  return {load_u16(super), load_u16(super + 2)};
}

}  // namespace heed
