#include "model/linear.h"

#include <ggml.h>

namespace heed {

ggml_tensor* linear(ggml_context* context, ggml_tensor* weight, ggml_tensor* x, ggml_tensor* bias) {
  ggml_tensor* y = ggml_mul_mat(context, weight, x);
  return bias == nullptr ? y : ggml_add(context, y, bias);
}

}  // namespace heed
