// The rotations of a model, from the keys of its file.
#pragma once

#include "heed/status.h"
#include "model/hyperparameters.h"
#include "model/key_section.h"

namespace heed {

// Indices into Hyperparameters::ropes, by what a layer is.
struct LayerRopes {
  int global = 0;
  int windowed = 0;
  int unrotated = 0;
};

// Fills h.ropes and h.query_temperature. Errors: numbers that give no rotation, a scaling that heed
// does not know.
Result<LayerRopes> read_ropes(const KeySection& section, const GgufFile& file, bool windowed,
                              Hyperparameters& h);

}  // namespace heed
