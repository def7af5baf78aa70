#include "session/kv_cost.h"

#include <algorithm>

#include "session/engine_impl.h"

namespace heed {

Result<KvCost> kv_cost(const Hyperparameters& hyper, Format format, int64_t tokens) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  EngineOptions options;
  options.k = options.v = format;
  const StoreDesc store = describe_store(hyper, options, isa);
  KvCost cost;
  for (size_t i = 0; i < store.layers.size(); ++i) {
    const LayerShape& shape = store.layers[i];
    const size_t v = shape.v_aliases_k ? 0 : row_bytes(format, shape.dv);
    const uint64_t entry =
        static_cast<uint64_t>(shape.kv_heads) * (row_bytes(format, shape.dk) + v);
    // A query sees itself and the window - 1 tokens before.
    const int window = hyper.layer[i].window;
    const int64_t seen = window > 0 ? std::min<int64_t>(tokens, window - 1) : tokens;
    cost.per_token += entry;
    cost.stored += entry * static_cast<uint64_t>(tokens);
    cost.in_reach += entry * static_cast<uint64_t>(seen);
  }
  return cost;
}

}  // namespace heed
