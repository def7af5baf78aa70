#include "linear/weight.h"

#include <algorithm>
#include <cstring>

#include "base/huge_pages.h"
#include "base/text.h"
#include "linear/file_block.h"
#include "linear/layout.h"
#include "linear/words.h"

namespace heed {
namespace {

using kernels::kBlockInputs;
using kernels::kGroupOutputs;
using kernels::kSuperBlocks;

void put_three_bits(uint8_t* record, int o, const uint8_t* codes) {
  uint32_t low[2] = {}, high = 0;
  for (int j = 0; j < 8; ++j) {
    const uint32_t word = load_u32(codes + 4 * j);
    low[j / 4] |= (word & 0x03030303u) << j % 4 * 2;
    high |= (word >> 2 & 0x01010101u) << j;
  }
  for (int h = 0; h < 2; ++h) store_u32(record + h * kWordRow + 4 * o, low[h]);
  store_u32(record + 2 * kWordRow + 4 * o, high);
}

// The codes of output `o` of a group into its record.
void put_codes(const WeightLayout& layout, uint8_t* record, int o, const uint8_t* codes) {
  if (layout.code_bits == 8) {
    for (int j = 0; j < 8; ++j) std::memcpy(record + j * kWordRow + 4 * o, codes + 4 * j, 4);
    return;
  }
  if (layout.code_bits == 3) return put_three_bits(record, o, codes);
  for (int j = 0; j < 4; ++j) {
    const uint32_t low = load_u32(codes + 4 * j), high = load_u32(codes + 16 + 4 * j);
    store_u32(record + j * kWordRow + 4 * o, (low & 0x0F0F0F0Fu) | (high & 0x0F0F0F0Fu) << 4);
  }
  if (layout.code_bits == 5) {
    uint32_t fifth = 0;
    for (int j = 0; j < 8; ++j) fifth |= (load_u32(codes + 4 * j) >> 4 & 0x01010101u) << j;
    store_u32(record + kCodesBytes + 4 * o, fifth);
  } else if (layout.code_bits == 6) {
    for (int h = 0; h < 2; ++h) {
      uint32_t bits = 0;
      for (int j = 0; j < 4; ++j) {
        bits |= (load_u32(codes + 16 * h + 4 * j) >> 4 & 0x03030303u) << 2 * j;
      }
      store_u32(record + kCodesBytes + h * kWordRow + 4 * o, bits);
    }
  }
}

void put_scales(WeightType type, uint8_t* record, int64_t b, int o, const FileBlock& block) {
  const WeightLayout& layout = weight_layout(type);
  if (!has_super(layout)) {
    store_u16(record + layout.scale + 2 * o, block.scale[0]);
    if (layout.min != WeightLayout::kNone) store_u16(record + layout.min + 2 * o, block.min);
    return;
  }
  record[scale_at(layout, b, 0) + o] = static_cast<uint8_t>(block.scale[0]);
  if (two_scales(type)) record[scale_at(layout, b, 1) + o] = static_cast<uint8_t>(block.scale[1]);
  if (layout.min != WeightLayout::kNone) record[layout.min + o] = static_cast<uint8_t>(block.min);
}

// Floats of output `o`, 32 inputs, between the file's row and the record: single values are
// [input][output], bf16 come as pairs of inputs, [pair][output][2].
template <class Copy>
void each_float(WeightType type, int o, int64_t b, const Copy& copy) {
  const int bytes = weight_layout(type).code_bits / 8;
  const int together = type == WeightType::kBf16 ? 2 : 1;
  for (int i = 0; i < kBlockInputs; i += together) {
    const int64_t in_row = (b * kBlockInputs + i) * bytes;
    const int64_t in_record = (int64_t{i} * kGroupOutputs + o * together) * bytes;
    copy(in_row, in_record, static_cast<size_t>(bytes * together));
  }
}

}  // namespace

int64_t file_block_inputs(WeightType type) { return weight_layout(type).file_inputs; }
const char* weight_type_name(WeightType type) { return weight_layout(type).name; }

int64_t file_row_bytes(WeightType type, int64_t inputs) {
  const WeightLayout& layout = weight_layout(type);
  return inputs / layout.file_inputs * layout.file_bytes;
}

Result<PackedWeight> PackedWeight::shape(WeightType type, int64_t outputs, int64_t inputs,
                                         Precision precision) {
  const WeightLayout& layout = weight_layout(type);
  if (outputs < 1 || inputs < 1 || inputs % layout.file_inputs != 0) {
    return error(Code::kInvalidArgument, "a ", layout.name, " weight of ", outputs, " x ", inputs,
                 ": inputs must come in blocks of ", layout.file_inputs);
  }
  PackedWeight weight;
  weight.type_ = type;
  weight.outputs_ = outputs;
  weight.inputs_ = inputs;
  weight.group_bytes_ = group_bytes(layout, inputs);
  weight.wide_ = precision == Precision::kAccurate && !is_float(type);
  return weight;
}

Result<PackedWeight> PackedWeight::decoded(const RowDecoder& decoder, const void* rows,
                                           int64_t outputs, int64_t inputs) {
  if (decoder.inputs < 1 || RowDecoder::kMostInputs % decoder.inputs != 0) {
    return error(Code::kUnsupported, "a ", decoder.name, " weight: its blocks hold ",
                 decoder.inputs, " values, heed decodes powers of two up to ",
                 RowDecoder::kMostInputs);
  }
  const int64_t block = std::max<int64_t>(decoder.inputs, kBlockInputs);
  if (outputs < 1 || inputs < 1 || inputs % block != 0) {
    return error(Code::kInvalidArgument, "a ", decoder.name, " weight of ", outputs, " x ", inputs,
                 ": inputs must come in blocks of ", block);
  }
  PackedWeight weight;
  weight.outputs_ = outputs;
  weight.inputs_ = inputs;
  weight.group_bytes_ = inputs / decoder.inputs * decoder.bytes * kGroupOutputs;
  weight.wide_ = true;
  weight.decoder_ = decoder;
  weight.start_ = static_cast<const uint8_t*>(rows);
  return weight;
}

Result<PackedWeight> PackedWeight::create(WeightType type, int64_t outputs, int64_t inputs,
                                          Precision precision) {
  HEED_ASSIGN(PackedWeight weight, shape(type, outputs, inputs, precision));
  PackedWeight* const one[] = {&weight};
  HEED_ASSIGN(weight.data_, place_together(one));
  return weight;
}

Result<AlignedMemory> place_together(std::span<PackedWeight* const> weights) {
  constexpr int64_t kLine = 64;
  const auto lines = [](const PackedWeight& w) { return (w.bytes() + kLine - 1) / kLine * kLine; };
  int64_t sum = 0;
  for (const PackedWeight* w : weights) sum += lines(*w);
  const auto bytes = static_cast<size_t>(sum);
  AlignedMemory memory = allocate_aligned(bytes, bytes >= kHugePage ? kHugePage : kLine);
  if (!memory) {
    return error(Code::kResourceExhausted, "no memory for ", bytes, " bytes of packed weights; ",
                 "free some or take a smaller model");
  }
  advise_huge_pages(memory.get(), bytes);
  uint8_t* at = memory.get();
  for (PackedWeight* w : weights) {
    w->place(at);
    at += lines(*w);
  }
  return memory;
}

int PackedWeight::outputs_of(int64_t g) const {
  const int64_t left = outputs_ - g * kGroupOutputs;
  return static_cast<int>(left < kGroupOutputs ? left : kGroupOutputs);
}

void PackedWeight::fill(const void* rows, int64_t begin, int64_t end) {
  const WeightLayout& layout = weight_layout(type_);
  const int64_t row_bytes = file_row_bytes(type_, inputs_);
  for (int64_t g = begin; g < end; ++g) {
    uint8_t* group = filled_ + g * group_bytes_;
    const int valid = outputs_of(g);
    if (valid < kGroupOutputs) std::memset(group, 0, static_cast<size_t>(group_bytes_));
    for (int64_t b = 0; b < blocks(); ++b) {
      uint8_t* record = group + record_at(layout, b);
      for (int o = 0; o < valid; ++o) {
        const uint8_t* row =
            static_cast<const uint8_t*>(rows) + (g * kGroupOutputs + o) * row_bytes;
        if (is_float(type_)) {
          each_float(type_, o, b, [&](int64_t in_row, int64_t in_record, size_t n) {
            std::memcpy(record + in_record, row + in_row, n);
          });
          continue;
        }
        FileBlock block;
        read_file_block(type_, row, b, block);
        put_codes(layout, record, o, block.codes);
        put_scales(type_, record, b, o, block);
        if (!has_super(layout) || b % kSuperBlocks != 0) continue;
        const SuperHead head = read_super_head(type_, row, b);
        store_u16(record - layout.head_bytes + 2 * o, head.d);
        if (has_super_min(layout)) store_u16(record - 64 + 2 * o, head.dmin);
      }
    }
  }
}

}  // namespace heed
