// What the products of a weight type multiply in.
#pragma once

#include "heed/cpu.h"
#include "linear/weight.h"

namespace heed {

enum class ProductUnit { kInt8, kBf16, kFp32 };

// `isa` must be supported by this machine.
ProductUnit product_unit(Isa isa, WeightType type);
ProductUnit product_unit(Isa isa, const PackedWeight& weight);
ProductUnit product_unit(Isa isa, kernels::InputForm form);
const char* product_unit_name(ProductUnit unit);  // "int8", "bf16", "fp32"

// The instruction that multiplies bytes on `isa`.
const char* byte_instruction(Isa isa);

}  // namespace heed
