// How many threads a model may use.
#pragma once

#include "heed/status.h"

namespace heed {

// 0: the cores this process may run on. Errors: negative, or more than ggml takes.
Result<int> resolve_threads(int asked);

}  // namespace heed
