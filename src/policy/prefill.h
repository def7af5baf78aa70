// The selectors that a policy comes to.
#pragma once

#include "heed/policy.h"
#include "mechanisms/prefill_policy.h"

namespace heed {

// A layer's, of a policy that no rule refuses. One object serves all layers with the same setting.
// Errors: a file that a setting names.
Result<PrefillPolicy> make_prefill_policy(const Policy& policy, const ModelShape& model);

}  // namespace heed
