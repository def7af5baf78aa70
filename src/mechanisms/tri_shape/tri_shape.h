// tri_shape: a_shape, and the last rows of the prompt read every key.
//
// Formula: visible(t, j) iff j <= p(t) and (j < n_init or p(t) - j < n_local or p(t) >= E -
// n_last), E the position behind the whole prompt: the question mostly stands at its end. Chunks
// know E, so only the prompt's own tail is dense; of several turns each has its own. Named in the
// code of MInference and in SCBench (2024). Cost: that of a_shape and n_last rows of dense. All
// heads of a layer alike.
#pragma once

#include <cstdint>
#include <memory>

#include "heed/status.h"
#include "mechanisms/prefill.h"

namespace heed {

struct TriShapeParams {
  int64_t n_init = 128;    // keys, 0 to 2^31
  int64_t n_local = 3968;  // keys, the query's own included, 0 to 2^31
  int64_t n_last = 100;    // rows, 0 to 2^31
};

// Errors: kOutOfRange.
Result<std::unique_ptr<const PrefillSelector>> make_tri_shape(const TriShapeParams& params);

}  // namespace heed
