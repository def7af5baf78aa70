// Checks of sampler options that need no model: a command line refuses them before loading.
#pragma once

#include "heed/engine.h"
#include "heed/status.h"

namespace heed {

// Names (with the nearest in the refusal) and ranges.
Status check_sampler(const SamplerOptions& options);

}  // namespace heed
