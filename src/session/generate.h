// Refusals that generate() and the command line share.
#pragma once

#include <cstdint>

#include "heed/status.h"

namespace heed {

// A prompt must leave room for one answer token behind the `held` positions. Never cut: the error
// has both numbers and the way out.
Status check_prompt_fits(int64_t prompt, int64_t held, int64_t context, int64_t trained_context);

}  // namespace heed
