// A quantised weight in the layout that the products read (kernels/linear/linear.h).
#pragma once

#include <cstdint>
#include <span>

#include "base/aligned.h"
#include "heed/status.h"
#include "kernels/linear/linear.h"

namespace heed {

using kernels::WeightType;

// Bytes that `inputs` values of one output take in the file: blocks of 32 (legacy types) or 256.
int64_t file_row_bytes(WeightType type, int64_t inputs);
// Inputs must come in whole blocks of this many.
int64_t file_block_inputs(WeightType type);
const char* weight_type_name(WeightType type);

// What products with weights of codes round x to: bytes in blocks of 32, or bf16 where the ISA
// multiplies it and nothing else. Weights of floats have one product.
enum class Precision : uint8_t { kUsual, kAccurate };

// Rows of a type that heed does not know: blocks of `inputs` values in `bytes` bytes.
struct RowDecoder {
  static constexpr int64_t kMostInputs = 256;
  const char* name = nullptr;  // "IQ3_S"
  int64_t inputs = 0;          // a power of two up to kMostInputs
  int64_t bytes = 0;
  void (*to_floats)(const void* row, float* out, int64_t n) = nullptr;  // n in whole blocks
};

class PackedWeight {
 public:
  // Memory for a weight [outputs, inputs]. Errors: inputs not in whole blocks; no memory.
  static Result<PackedWeight> create(WeightType type, int64_t outputs, int64_t inputs,
                                     Precision precision = Precision::kUsual);

  // The same without memory, to plan with or to place.
  static Result<PackedWeight> shape(WeightType type, int64_t outputs, int64_t inputs,
                                    Precision precision = Precision::kUsual);

  // A weight that stays as it is at `rows`, which must outlive this, and is decoded group by group
  // while it is multiplied. Null rows: to plan with. Errors: inputs not in whole blocks, of the
  // type's or of 32.
  static Result<PackedWeight> decoded(const RowDecoder& decoder, const void* rows, int64_t outputs,
                                      int64_t inputs);

  // Where the groups of a shape lie: bytes() of 64-byte aligned memory that outlives this.
  void place(uint8_t* memory) { start_ = filled_ = memory; }

  // Groups [begin, end) from the file's rows, row_bytes apart; those behind the last output are
  // zeros. Different groups may be filled by different threads.
  void fill(const void* rows, int64_t begin, int64_t end);

  WeightType type() const { return type_; }  // of a weight that is not decoded
  // Multiplied as floats although it holds codes.
  bool wide() const { return wide_; }
  const RowDecoder* decoder() const { return decoder_.to_floats != nullptr ? &decoder_ : nullptr; }
  kernels::InputForm input_form() const {
    return wide_ ? kernels::InputForm::kPairs : kernels::input_form(type_);
  }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int blocks() const { return static_cast<int>(inputs_ / kernels::kBlockInputs); }
  int64_t groups() const {
    return (outputs_ + kernels::kGroupOutputs - 1) / kernels::kGroupOutputs;
  }
  int64_t bytes() const {  // of decoded weights: in the file
    return decoder() != nullptr ? outputs_ * (group_bytes_ / kernels::kGroupOutputs)
                                : groups() * group_bytes_;
  }
  const uint8_t* group(int64_t g) const { return start_ + g * group_bytes_; }
  int outputs_of(int64_t g) const;

 private:
  WeightType type_ = WeightType::kQ4_0;
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  int64_t group_bytes_ = 0;
  bool wide_ = false;
  RowDecoder decoder_;
  const uint8_t* start_ = nullptr;
  uint8_t* filled_ = nullptr;  // the same, of what is not decoded
  AlignedMemory data_;         // of create()
};

// Memory for the groups of all `weights`, side by side: a step reads them from end to end, so they
// lie in huge pages where the system gives some, those that fill none too. It must outlive them.
Result<AlignedMemory> place_together(std::span<PackedWeight* const> weights);

}  // namespace heed
