#include "linear/unit.h"

#include "kernels/kernels.h"

namespace heed {

using kernels::InputForm;

ProductUnit product_unit(Isa isa, WeightType type) {
  return product_unit(isa, kernels::input_form(type));
}

ProductUnit product_unit(Isa isa, const PackedWeight& weight) {
  return product_unit(isa, weight.input_form());
}

ProductUnit product_unit(Isa isa, InputForm form) {
  if (form == InputForm::kBytes) return ProductUnit::kInt8;
  if (form == InputForm::kFloats) return ProductUnit::kFp32;
  // Without a bf16 product a unit takes pairs as floats, which are twice as long.
  const size_t bytes = kernels::linear_table(isa).block_bytes[static_cast<int>(form)];
  return bytes < kernels::kFloatBlockBytes ? ProductUnit::kBf16 : ProductUnit::kFp32;
}

const char* product_unit_name(ProductUnit unit) {
  switch (unit) {
    case ProductUnit::kInt8: return "int8";
    case ProductUnit::kBf16: return "bf16";
    case ProductUnit::kFp32: return "fp32";
  }
  return "?";
}

const char* byte_instruction(Isa isa) {
  switch (isa) {
    case Isa::kAvx512Bf16:
    case Isa::kAvx512Vnni: return "vpdpbusd";
    case Isa::kAvx512:
    case Isa::kAvx2: return "vpmaddubsw";
    case Isa::kScalar: break;
  }
  return "no vector instruction";
}

}  // namespace heed
