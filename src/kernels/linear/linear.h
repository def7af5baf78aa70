// Products with a model's weights: what one ISA's unit provides, and the layouts it reads.
//
// A weight [out, in] is kept as groups of 32 outputs. A group is a list of records, one per block
// of 32 inputs, that hold the file's own codes, scales and minima permuted, so that a vector of
// outputs is one load. Word j of an output holds inputs 4j .. 4j + 3 as bytes:
//
//   4-bit codes  u32[4][32]: low nibbles are words 0..3, high nibbles words 4..7
//   fifth bits   u32[32]:    byte t, bit j is bit 4 of input 4j + t
//   bits 4, 5    u32[2][32]: word h, byte t, bits 2j and 2j + 1 are those of input 16h + 4j + t
//   bytes        u32[8][32]: the code + 128
//   low bits     u32[2][32]: word h, byte t, bits 2j and 2j + 1 are input 16h + 4j + t's
//   high bits    u32[32]:    byte t, bit j is bit 2 of input 4j + t
//
//   Q4_0, IQ4_NL  codes, f16 scale[32]                            576 bytes
//   Q4_1          codes, f16 scale[32], f16 min[32]               640
//   Q5_0          codes, fifth bits, f16 scale[32]                704
//   Q5_1          codes, fifth bits, f16 scale[32], f16 min[32]   768
//   Q8_0          bytes, f16 scale[32]                           1088
//   Q4_K          per 8 blocks f16 d[32], f16 dmin[32]; then codes, u8 scale[32], u8 min[32]
//   Q5_K          the same with fifth bits behind the codes
//   Q6_K          per 8 blocks f16 d[32]; then codes, bits 4 and 5, i8 scale[2][32]
//   Q3_K          per 8 blocks f16 d[32]; then low bits, high bits, i8 scale[2][32]
//   IQ4_XS        per 8 blocks f16 d[32], i8 scale[8][32]; then codes
//   MXFP4         codes, bf16 scale[32] (half the file's power of two)     576
//   F32, F16      float or f16 [32 inputs][32]                            4096, 2048
//   BF16          bf16 [16 pairs of inputs][32][2]                        2048
//
// That is the size of the file's blocks (Q4_K, Q5_K, Q3_K, IQ4_XS and MXFP4: 1 to 6 % more, for
// their scales).
//
// This header is included by the units and contains no code.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace heed::kernels {

enum class WeightType : uint8_t {
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIq4Nl,
  kMxfp4,
  kQ4K,
  kQ5K,
  kQ6K,
  kF32,
  kF16,
  kBf16,
  kQ3K,
  kIq4Xs,
};
inline constexpr int kWeightTypes = 15;

// What the products of a type read of x.
enum class InputForm : uint8_t {
  kBytes,   // InputBlock
  kFloats,  // [32 inputs][4 rows] fp32
  kPairs,   // [16 pairs][4 rows] bf16 where the ISA multiplies them, else as kFloats
};
inline constexpr int kInputForms = 3;
constexpr InputForm input_form(WeightType type) {
  if (type == WeightType::kF32 || type == WeightType::kF16) return InputForm::kFloats;
  return type == WeightType::kBf16 ? InputForm::kPairs : InputForm::kBytes;
}

inline constexpr int kGroupOutputs = 32;
inline constexpr int kBlockInputs = 32;
inline constexpr int kSuperBlocks = 8;  // blocks that share d and dmin in the K types
inline constexpr int kInputRows = 4;    // rows of x in one InputBlock

// 32 inputs of four rows, each row quantised to 8 bits with a scale of its own. Word j of a row
// holds inputs 4j .. 4j + 3 as signed bytes.
struct InputBlock {
  uint32_t q[8][kInputRows];
  int32_t minus_sum[kInputRows];   // -(sum of the 32 codes): a zero point z adds z times this
  int32_t minus_high[kInputRows];  // the same over inputs 16..31
  float scale[kInputRows];
  float sum[kInputRows];  // scale * sum of the codes: what a block's minimum is multiplied with
};

inline constexpr size_t kFloatBlockBytes = kBlockInputs * kInputRows * sizeof(float);
inline constexpr size_t kMostBlockBytes = kFloatBlockBytes;  // of four rows in any form

// Bytes of a group expanded to one byte a code, fp32 scales and minima.
inline constexpr size_t kExpandedBlock = 1024 + 128 + 128;

// Bytes of 32 inputs of a group that is widened to floats, in any unit.
inline constexpr size_t kMostWideBlock = kBlockInputs * kGroupOutputs * sizeof(float);

// Where the results of a group go, and what is added to them: y = (x W^T + bias) + residual.
struct LinearResult {
  float* y = nullptr;  // [rows, outputs], `stride` floats apart
  int64_t stride = 0;
  const float* bias = nullptr;      // [outputs]
  const float* residual = nullptr;  // [rows, outputs], `residual_stride` floats apart
  int64_t residual_stride = 0;
};

struct LinearCall {
  const uint8_t* group = nullptr;  // the records of 32 outputs, 64-byte aligned
  const void* x = nullptr;         // [ceil(rows / 4)][blocks] in the type's form
  int blocks = 0;                  // inputs / 32
  int rows = 0;
  int outputs = 0;  // of this group, 1 to 32
  LinearResult to;
  uint8_t* scratch = nullptr;  // blocks * kMostWideBlock, 64-byte aligned; not of wide_product
};

enum class Activation : uint8_t {
  kSilu,
  kGelu,         // by tanh
  kClampedSilu,  // of gpt-oss, which also adds 1 to `up`
};
inline constexpr int kActivations = 3;

struct LinearTable {
  // Up to four rows of x [rows, 32 * blocks], `stride` floats apart, by InputForm.
  void (*pack[kInputForms])(void* out, const float* x, int64_t stride, int rows, int blocks);
  size_t block_bytes[kInputForms];  // that 32 inputs of four rows take
  // The results of one group, by WeightType. Per output one chain over the blocks,
  // acc = fma(sum of codes, scale_w * scale_x, acc), then fma(min, sum_x, acc): integer sums are
  // exact, so a row's bits depend neither on the other rows nor on the tile. Weights that are
  // floats have one chain of fma over the inputs.
  void (*product[kWeightTypes])(const LinearCall& call);
  // A group of codes as floats, [blocks] of wide_block_bytes: as BF16 where the unit multiplies
  // pairs, else as F32. By WeightType; null where the weight is floats already.
  void (*widen[kWeightTypes])(uint8_t* out, const uint8_t* group, int blocks);
  // The same from fp32 rows of up to 32 outputs, `stride` floats apart.
  void (*widen_rows)(uint8_t* out, const float* rows, int64_t stride, int outputs, int blocks);
  // The same with call.group widened and x as InputForm::kPairs: one chain over the inputs.
  void (*wide_product)(const LinearCall& call);
  size_t wide_block_bytes;
  // out = x / sqrt(mean(x^2) + eps) * w, n floats.
  void (*rms_norm)(float* out, const float* x, const float* w, int n, float eps);
  // gate = activation(gate) * up, n floats.
  void (*gate[kActivations])(float* gate, const float* up, int n);
};

namespace scalar {
extern const LinearTable kLinearTable;
}
namespace avx2 {
extern const LinearTable kLinearTable;
}
namespace avx512 {
extern const LinearTable kLinearTable;
}
namespace avx512_vnni {
extern const LinearTable kLinearTable;
}
namespace avx512_bf16 {
extern const LinearTable kLinearTable;
}

}  // namespace heed::kernels
