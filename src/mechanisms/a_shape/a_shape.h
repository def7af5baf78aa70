// a_shape: the first keys of the text and a window of the last ones.
//
// Formula: visible(t, j) iff j <= p(t) and (j < n_init or p(t) - j < n_local), positions absolute
// and counted from the start of the text; the softmax is over what is visible. The window is that
// of each query, so chunks change nothing. Paper: Efficient Streaming Language Models with
// Attention Sinks (2023), as the static pattern that MInference calls A-shape. Cost: about
// (n_init + n_local) / S of dense, nothing to select. All heads of a layer alike.
#pragma once

#include <cstdint>
#include <memory>

#include "heed/status.h"
#include "mechanisms/prefill.h"

namespace heed {

struct AShapeParams {
  int64_t n_init = 128;    // keys, 0 to 2^31
  int64_t n_local = 3968;  // keys, the query's own included, 0 to 2^31
};

// Errors: kOutOfRange; keys of both kinds 0.
Result<std::unique_ptr<const PrefillSelector>> make_a_shape(const AShapeParams& params);

}  // namespace heed
