#include "model/linear_choice.h"

#include <ggml-cpu.h>

#include "base/text.h"
#include "heed/model.h"

namespace heed {
namespace {

// ggml says whether a weight in a buffer of this type can be multiplied only when asked about a
// product whose weight lies in such a buffer; an empty one will do.
bool can_multiply(ggml_backend_dev_t device, ggml_backend_buffer_type_t type,
                  const GgufTensor& tensor) {
  const GgmlContext context = tensor_headers(4);
  ggml_tensor* w = ggml_new_tensor_2d(context.get(), tensor.type, tensor.ne[0], tensor.ne[1]);
  ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, tensor.ne[0], 512);
  ggml_tensor* y = ggml_mul_mat(context.get(), w, x);
  const GgmlBuffer buffer(ggml_backend_buft_alloc_buffer(type, 0));
  if (!buffer) return false;
  w->buffer = buffer.get();
  return ggml_backend_dev_supports_op(device, y);
}

}  // namespace

GgmlContext tensor_headers(size_t tensors) {
  return GgmlContext(ggml_init({.mem_size = ggml_tensor_overhead() * (tensors + 1),
                                .mem_buffer = nullptr,
                                .no_alloc = true}));
}

Repacking::Repacking() : device_(ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0)) {
  const auto get =
      reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
          ggml_backend_cpu_reg(), "ggml_backend_dev_get_extra_bufts"));
  if (get == nullptr) return;
  for (auto* at = get(device_); at != nullptr && *at != nullptr; ++at) types_.push_back(*at);
}

ggml_backend_buffer_type_t Repacking::type_of(const GgufTensor& tensor) const {
  for (ggml_backend_buffer_type_t type : types_) {
    if (can_multiply(device_, type, tensor)) return type;
  }
  return nullptr;
}

std::optional<WeightType> packed_weight_type(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q4_0: return WeightType::kQ4_0;
    case GGML_TYPE_Q4_1: return WeightType::kQ4_1;
    case GGML_TYPE_Q5_0: return WeightType::kQ5_0;
    case GGML_TYPE_Q5_1: return WeightType::kQ5_1;
    case GGML_TYPE_Q8_0: return WeightType::kQ8_0;
    case GGML_TYPE_IQ4_NL: return WeightType::kIq4Nl;
    case GGML_TYPE_Q4_K: return WeightType::kQ4K;
    case GGML_TYPE_Q5_K: return WeightType::kQ5K;
    case GGML_TYPE_Q6_K: return WeightType::kQ6K;
    case GGML_TYPE_Q3_K: return WeightType::kQ3K;
    case GGML_TYPE_IQ4_XS: return WeightType::kIq4Xs;
    case GGML_TYPE_MXFP4: return WeightType::kMxfp4;
    case GGML_TYPE_F32: return WeightType::kF32;
    case GGML_TYPE_F16: return WeightType::kF16;
    case GGML_TYPE_BF16: return WeightType::kBf16;
    default: return {};
  }
}

std::optional<RowDecoder> row_decoder(ggml_type type) {
  const ggml_type_traits& traits = *ggml_get_type_traits(type);
  if (packed_weight_type(type) || !traits.is_quantized || traits.to_float == nullptr) return {};
  return RowDecoder{traits.type_name, traits.blck_size, static_cast<int64_t>(traits.type_size),
                    traits.to_float};
}

bool repack_wanted(ggml_type type) { return type == GGML_TYPE_Q4_0 || type == GGML_TYPE_IQ4_NL; }

const char* linear_name(Linear linear) {
  switch (linear) {
    case Linear::kHeed: return "heed";
    case Linear::kGgml: return "ggml";
    case Linear::kAccurate: return "accurate";
  }
  return "?";
}

Result<Linear> parse_linear(std::string_view name) {
  for (const Linear linear : {Linear::kHeed, Linear::kGgml, Linear::kAccurate}) {
    if (name == linear_name(linear)) return linear;
  }
  return error(Code::kInvalidArgument, "linear is '", name, "', must be heed, accurate or ggml");
}

}  // namespace heed
