// Which tensors an architecture has, and their shapes.
#pragma once

#include "heed/status.h"
#include "model/hyperparameters.h"

namespace heed {

// Every tensor the architecture requires is there, none that heed would not apply, all shapes and
// types as the hyper-parameters say. Sets hyper.vocab and hyper.tied_head.
Status check_tensors(const GgufFile& file, Hyperparameters& hyper);

// Null when the file does not have it.
const GgufTensor* layer_tensor(const GgufFile& file, int layer, LayerTensor tensor);

}  // namespace heed
