// A quantised weight in the layout that the products read (kernels/linear/linear.h).
#pragma once

#include <cstdint>

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

class PackedWeight {
 public:
  // Memory for a weight [outputs, inputs]. Errors: inputs not in whole blocks; no memory.
  static Result<PackedWeight> create(WeightType type, int64_t outputs, int64_t inputs);

  // The same without memory, to plan with.
  static Result<PackedWeight> shape(WeightType type, int64_t outputs, int64_t inputs);

  // Groups [begin, end) from the file's rows, row_bytes apart; those behind the last output are
  // zeros. Different groups may be filled by different threads.
  void fill(const void* rows, int64_t begin, int64_t end);

  WeightType type() const { return type_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int blocks() const { return static_cast<int>(inputs_ / kernels::kBlockInputs); }
  int64_t groups() const {
    return (outputs_ + kernels::kGroupOutputs - 1) / kernels::kGroupOutputs;
  }
  int64_t bytes() const { return groups() * group_bytes_; }
  const uint8_t* group(int64_t g) const { return data_.get() + g * group_bytes_; }
  int outputs_of(int64_t g) const;

 private:
  WeightType type_ = WeightType::kQ4_0;
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  int64_t group_bytes_ = 0;
  AlignedMemory data_;
};

}  // namespace heed
