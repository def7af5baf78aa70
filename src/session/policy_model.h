// A model as the rules of policies see it.
#pragma once

#include "heed/policy.h"
#include "model/hyperparameters.h"

namespace heed {

inline ModelShape model_shape(const Hyperparameters& hyper) {
  ModelShape shape;
  shape.causal = !hyper.arch->encoder;
  for (const LayerHyper& l : hyper.layer) shape.layers.push_back({l.heads, l.kv_heads, l.window});
  return shape;
}

}  // namespace heed
