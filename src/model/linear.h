// Every matrix product of a model goes through here.
#pragma once

struct ggml_context;
struct ggml_tensor;

namespace heed {

// weight [out, in] (quantised or not, plain or repacked), x [T, in] fp32 -> [T, out] fp32, plus
// bias [out] where it is not null.
ggml_tensor* linear(ggml_context* context, ggml_tensor* weight, ggml_tensor* x, ggml_tensor* bias);

}  // namespace heed
