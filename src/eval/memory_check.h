// Refusing work that does not fit in memory before it starts, with the numbers and the way out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "heed/status.h"

namespace heed::eval {

struct MemoryNeed {
  std::string what;
  uint64_t bytes = 0;
};

uint64_t total_bytes(std::span<const MemoryNeed> needs);

// Whether the sum fits in what this process may still take; memory of unknown size fits.
bool fits_in_memory(std::span<const MemoryNeed> needs);

// Refuses `work` when its needs do not fit. Where the system does not tell how much there is, says
// so and goes on.
Status check_memory(const std::string& work, std::span<const MemoryNeed> needs,
                    const std::string& way_out,
                    const std::function<void(const std::string&)>& say = {});

}  // namespace heed::eval
