// dense: every query reads every key that it sees, through the frame that sparse selectors use.
//
// Formula: visible(t, j) iff j <= p(t) (and inside the layer's window). Cost: that of attention
// without a policy, bit for bit the same result. It is what selectors are compared with.
#pragma once

#include <memory>

#include "mechanisms/prefill.h"

namespace heed {

std::unique_ptr<const PrefillSelector> make_dense();

}  // namespace heed
