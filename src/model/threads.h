// How many threads a model may use.
#pragma once

#include "heed/status.h"

namespace heed {

constexpr int kMaxThreads = 512;  // ggml's limit

// 0: the cores this process may run on. Errors: negative, or more than ggml takes.
Result<int> resolve_threads(int asked);

// Refuses when the system does not give `count` more threads at once. ggml ends the process when
// its pool gets too few, so whoever makes a pool asks here first.
Status check_threads_available(int count);

}  // namespace heed
