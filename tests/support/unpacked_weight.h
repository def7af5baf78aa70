// A packed weight back to the rows of its file.
#pragma once

#include <cstring>

#include "file_block_writer.h"
#include "linear/layout.h"
#include "linear/weight.h"
#include "linear/words.h"

namespace heed::test {

inline void get_codes(const WeightLayout& layout, const uint8_t* record, int o, uint8_t* codes) {
  if (layout.code_bits == 8) {
    for (int j = 0; j < 8; ++j) std::memcpy(codes + 4 * j, record + j * kWordRow + 4 * o, 4);
    return;
  }
  for (int k = 0; k < 8 && layout.code_bits == 3; ++k) {
    const uint32_t low = load_u32(record + k / 4 * kWordRow + 4 * o) >> k % 4 * 2;
    const uint32_t high = load_u32(record + 2 * kWordRow + 4 * o) >> k;
    store_u32(codes + 4 * k, (low & 0x03030303u) | (high & 0x01010101u) << 2);
  }
  if (layout.code_bits == 3) return;
  for (int k = 0; k < 8; ++k) {
    uint32_t word = load_u32(record + k % 4 * kWordRow + 4 * o) >> (k / 4 * 4) & 0x0F0F0F0Fu;
    if (layout.code_bits == 5) {
      word |= (load_u32(record + kCodesBytes + 4 * o) >> k & 0x01010101u) << 4;
    } else if (layout.code_bits == 6) {
      const uint32_t bits = load_u32(record + kCodesBytes + k / 4 * kWordRow + 4 * o);
      word |= (bits >> k % 4 * 2 & 0x03030303u) << 4;
    }
    store_u32(codes + 4 * k, word);
  }
}

inline void get_scales(WeightType type, const uint8_t* record, int64_t b, int o, FileBlock& block) {
  const WeightLayout& layout = weight_layout(type);
  if (!has_super(layout)) {
    block.scale[0] = load_u16(record + layout.scale + 2 * o);
    if (layout.min != WeightLayout::kNone) block.min = load_u16(record + layout.min + 2 * o);
    return;
  }
  block.scale[0] = record[scale_at(layout, b, 0) + o];
  if (two_scales(type)) block.scale[1] = record[scale_at(layout, b, 1) + o];
  if (layout.min != WeightLayout::kNone) block.min = record[layout.min + o];
}

// 32 inputs of output `o`, in the file's order.
inline void get_floats(WeightType type, const uint8_t* record, int o, uint8_t* out) {
  const int bytes = weight_layout(type).code_bits / 8;
  const int together = type == WeightType::kBf16 ? 2 : 1;  // [pair][output][2]
  for (int i = 0; i < kernels::kBlockInputs; ++i) {
    const int at = (i / together * kernels::kGroupOutputs + o) * together + i % together;
    std::memcpy(out + i * bytes, record + at * bytes, static_cast<size_t>(bytes));
  }
}

// Row `output`, file_row_bytes.
inline void unpack_row(const PackedWeight& weight, int64_t output, void* row) {
  const WeightType type = weight.type();
  const WeightLayout& layout = weight_layout(type);
  const int64_t g = output / kernels::kGroupOutputs;
  const int o = static_cast<int>(output % kernels::kGroupOutputs);
  std::memset(row, 0, static_cast<size_t>(file_row_bytes(type, weight.inputs())));
  for (int64_t b = 0; b < weight.blocks(); ++b) {
    const uint8_t* record = weight.group(g) + record_at(layout, b);
    auto* out = static_cast<uint8_t*>(row);
    if (is_float(type)) {
      get_floats(type, record, o, out + b * layout.file_bytes);
      continue;
    }
    FileBlock block{};
    get_codes(layout, record, o, block.codes);
    get_scales(type, record, b, o, block);
    write_file_block(type, out, b, block);
    if (!has_super(layout) || b % kernels::kSuperBlocks != 0) continue;
    write_super_head(type, out, b,
                     {load_u16(record - layout.head_bytes + 2 * o),
                      has_super_min(layout) ? load_u16(record - 64 + 2 * o) : uint16_t{0}});
  }
}

}  // namespace heed::test
