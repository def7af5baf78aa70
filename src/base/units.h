// Sizes as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace heed {

// "93.8 MiB": one digit behind the point in the largest unit that leaves at least 1.
std::string bytes_text(uint64_t bytes);

}  // namespace heed
