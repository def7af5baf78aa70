// How much memory this process may still take.
#pragma once

#include <cstdint>

namespace heed {

// Bytes: what the kernel calls available, or what is left below the tightest control group (v1 or
// v2), whichever is less. 0 when the system tells neither.
uint64_t available_memory();

}  // namespace heed
