// What the keys and values of one sequence take, by page format and before anything is loaded.
#pragma once

#include <cstdint>

#include "heed/format.h"
#include "heed/status.h"
#include "model/hyperparameters.h"

namespace heed {

struct KvCost {
  uint64_t per_token = 0;  // entries of a token in all layers
  uint64_t stored = 0;     // of all tokens
  uint64_t in_reach = 0;   // of those that the next token may still see: windows hide the others
};
// Both in `format`; `tokens` is 0 or more.
Result<KvCost> kv_cost(const Hyperparameters& hyper, Format format, int64_t tokens);

}  // namespace heed
