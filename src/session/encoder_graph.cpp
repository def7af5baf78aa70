#include "session/encoder_graph.h"

#include <numeric>

namespace heed {

ggml_tensor* layer_norm(ggml_context* context, ggml_tensor* x, ggml_tensor* weight,
                        ggml_tensor* bias, float eps) {
  ggml_tensor* const scaled = ggml_mul(context, ggml_norm(context, x, eps), weight);
  return bias == nullptr ? scaled : ggml_add(context, scaled, bias);
}

ggml_tensor* encoder_input(ggml_context* context, const Hyperparameters& hyper,
                           const ModelWeights& weights, ggml_tensor* x, ggml_tensor* positions) {
  if (weights.token_types != nullptr) {
    x = ggml_add(context, x, ggml_view_1d(context, weights.token_types, hyper.embd, 0));
  }
  if (positions != nullptr) {
    x = ggml_add(context, x, ggml_get_rows(context, weights.positions, positions));
  }
  return layer_norm(context, x, weights.embeddings_norm, weights.embeddings_norm_bias,
                    hyper.norm_eps);
}

void fill_positions(std::span<const SeqSpan> texts, ggml_tensor& positions) {
  auto* out = static_cast<int32_t*>(positions.data);
  for (const SeqSpan& text : texts) {
    std::iota(out, out + text.tokens.size(), 0);
    out += text.tokens.size();
  }
}

}  // namespace heed
