// Runs code of strangers (a chat template) where it can neither take the process along nor keep it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "heed/status.h"

namespace heed {

struct ChildLimits {
  int seconds = 5;                 // of wall clock and of processor time
  uint64_t memory = 512ull << 20;  // bytes on top of what this process has
  uint64_t output = 64ull << 20;   // bytes of the answer
};

// The answer of `call`, which runs in a forked child: a crash, an endless loop or a flood of memory
// or text there is an error here. `what` names the work in messages. The child sees a copy of this
// process with the calling thread alone, so `call` must not wait for another thread.
Result<std::string> run_limited(const char* what, const ChildLimits& limits,
                                const std::function<Result<std::string>()>& call);

}  // namespace heed
