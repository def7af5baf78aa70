// What RopeOptions do to the rotations of a model.
#pragma once

#include <vector>

#include "heed/engine.h"
#include "model/hyperparameters.h"

namespace heed {

// Errors: a negative or infinite number.
Status check_rope_options(const RopeOptions& options);

// hyper.ropes, with the options' numbers in that of layers which see everything.
std::vector<Rope> changed_ropes(const RopeOptions& options, const Hyperparameters& hyper);

}  // namespace heed
