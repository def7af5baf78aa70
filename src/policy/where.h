// Layers and heads as text.
#pragma once

#include <string_view>

#include "heed/policy.h"

namespace heed {

// One of "L0-3", "L12.H3", "L*.KV0-1", "*". The message has the text and what is valid.
Result<Where> parse_where(std::string_view text);

}  // namespace heed
