// Which tensors an architecture has, and their shapes.
#pragma once

#include <optional>

#include "heed/status.h"
#include "model/hyperparameters.h"

namespace heed {

// Divisors of the rotations' frequencies (Rope::factors).
inline constexpr const char* kRopeTensors[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                               "rope_factors_short.weight"};

// What stands in front of an encoder's layers. Only row 0 of the types is used: the first of two
// texts, as in llama.cpp.
inline constexpr const char* kPositionTable = "position_embd.weight";
inline constexpr const char* kTokenTypes = "token_types.weight";
inline constexpr const char* kEmbeddingsNorm = "token_embd_norm.weight";
inline constexpr const char* kEmbeddingsNormBias = "token_embd_norm.bias";

// Every tensor the architecture requires is there, none that heed would not apply, all shapes and
// types as the hyper-parameters say. Sets hyper.vocab and hyper.tied_head.
Status check_tensors(const GgufFile& file, Hyperparameters& hyper);

// A tensor of a checked file: its own, or its rows of a fused one under that one's name. Nothing
// when the file does not have it.
std::optional<GgufTensor> layer_tensor(const GgufFile& file, const Hyperparameters& hyper,
                                       int layer, LayerTensor tensor);

}  // namespace heed
