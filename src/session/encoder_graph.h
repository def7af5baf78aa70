// What an encoder computes that a decoder does not: sums of embeddings in front of its layers, and
// LayerNorm (arXiv:1607.06450).
#pragma once

#include <ggml.h>

#include <span>

#include "model/hyperparameters.h"
#include "model/weights.h"
#include "session/step.h"

namespace heed {

// (x - mean(x)) / sqrt(var(x) + eps) * weight + bias of each row; `bias` may be null.
ggml_tensor* layer_norm(ggml_context* context, ggml_tensor* x, ggml_tensor* weight,
                        ggml_tensor* bias, float eps);

// What the first layer reads, [T, embd]: the embeddings `x` of the tokens, those of their type (the
// first: one text, not a pair) and of their positions ([T], null where the model has none), normed.
ggml_tensor* encoder_input(ggml_context* context, const Hyperparameters& hyper,
                           const ModelWeights& weights, ggml_tensor* x, ggml_tensor* positions);

// Every sequence is a text from its beginning.
void fill_positions(std::span<const SeqSpan> texts, ggml_tensor& positions);

}  // namespace heed
