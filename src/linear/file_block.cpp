#include "linear/file_block.h"

#include <cstring>

namespace heed {
namespace {

using kernels::WeightType;

uint16_t load_u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
void store_u16(uint8_t* p, uint16_t x) {
  p[0] = static_cast<uint8_t>(x);
  p[1] = static_cast<uint8_t>(x >> 8);
}

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

void write_legacy(Legacy kind, uint8_t* block, const FileBlock& in) {
  store_u16(block, in.scale[0]);
  if (kind.min) store_u16(block + 2, in.min);
  for (int i = 0; i < 16; ++i) {
    block[kind.nibbles_at() + i] =
        static_cast<uint8_t>((in.codes[i] & 15) | (in.codes[16 + i] & 15) << 4);
  }
  if (!kind.fifth) return;
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(in.codes[i] >> 4) << i;
  std::memcpy(block + kind.fifth_at(), &bits, 4);
}

// --- MXFP4: the exponent e of 2^(e - 127), 16 bytes of nibbles ---------------------------------

// 2^(e - 128) in bf16; the two smallest are denormal.
uint16_t half_power(uint8_t e) { return static_cast<uint16_t>(e >= 2 ? (e - 1) << 7 : 0x20 << e); }
uint8_t exponent_of(uint16_t bf16) {
  if (bf16 >= 0x80) return static_cast<uint8_t>((bf16 >> 7) + 1);
  return bf16 == 0x40 ? 1 : 0;
}

void read_mxfp4(const uint8_t* block, FileBlock& out) {
  out.scale[0] = half_power(block[0]);
  for (int i = 0; i < 16; ++i) {
    out.codes[i] = block[1 + i] & 15;
    out.codes[16 + i] = block[1 + i] >> 4;
  }
}

void write_mxfp4(uint8_t* block, const FileBlock& in) {
  block[0] = exponent_of(in.scale[0]);
  for (int i = 0; i < 16; ++i) {
    block[1 + i] = static_cast<uint8_t>((in.codes[i] & 15) | (in.codes[16 + i] & 15) << 4);
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

void write_scale_min(uint8_t* s, int j, const FileBlock& in) {
  if (j < 4) {
    s[j] = static_cast<uint8_t>((s[j] & 0xC0) | (in.scale[0] & 63));
    s[j + 4] = static_cast<uint8_t>((s[j + 4] & 0xC0) | (in.min & 63));
  } else {
    s[j + 4] = static_cast<uint8_t>((in.scale[0] & 15) | (in.min & 15) << 4);
    s[j - 4] = static_cast<uint8_t>((s[j - 4] & 0x3F) | (in.scale[0] >> 4) << 6);
    s[j] = static_cast<uint8_t>((s[j] & 0x3F) | (in.min >> 4) << 6);
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

void write_q45k(uint8_t* super, bool fifth, int j, const FileBlock& in) {
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

void write_q6k(uint8_t* super, int j, const FileBlock& in) {
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
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBf16: return;  // no codes (is_float)
  }
}

void write_file_block(WeightType type, uint8_t* row, int64_t b, const FileBlock& in) {
  uint8_t* block = row + at(type, b);
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
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBf16: return;
  }
}

SuperHead read_super_head(WeightType type, const uint8_t* row, int64_t b) {
  const uint8_t* super = row + at(type, b);
  if (type == WeightType::kQ6K) return {load_u16(super + 208), 0};
  return {load_u16(super), load_u16(super + 2)};
}

void write_super_head(WeightType type, uint8_t* row, int64_t b, SuperHead head) {
  uint8_t* super = row + at(type, b);
  if (type == WeightType::kQ6K) return store_u16(super + 208, head.d);
  store_u16(super, head.d);
  store_u16(super + 2, head.dmin);
}

}  // namespace heed
