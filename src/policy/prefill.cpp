#include "policy/prefill.h"

#include <algorithm>

#include "base/text.h"
#include "mechanisms/row.h"

namespace heed {
namespace {

struct Made {
  Setting setting;
  std::shared_ptr<const PrefillSelector> selector;  // null: dense
};

Result<std::shared_ptr<const PrefillSelector>> selector_of(const Setting& setting,
                                                           std::vector<Made>& made) {
  const auto same = std::ranges::find(made, setting, &Made::setting);
  if (same != made.end()) return same->selector;
  Made next{setting, nullptr};
  const Row& row = registry().row_of(*setting.mechanism);
  if (row.make_prefill != nullptr) {
    HEED_ASSIGN(next.selector, row.make_prefill(setting));
  }
  made.push_back(next);
  return next.selector;
}

}  // namespace

Result<PrefillPolicy> make_prefill_policy(const Policy& policy, const ModelShape& model) {
  HEED_ASSIGN(const uint64_t hash, policy.kv_hash());
  PrefillPolicy out(cat(policy.text(), " ", hash_text(hash)), nullptr);
  std::vector<Made> made;
  for (int layer = 0; layer < static_cast<int>(model.layers.size()); ++layer) {
    // Heads of a layer are alike: a rule refuses policies in which they are not.
    HEED_ASSIGN(auto selector, selector_of(plan_head(policy, model, layer, 0).prefill, made));
    if (selector != nullptr) out.override_layer(layer, std::move(selector));
  }
  return out;
}

}  // namespace heed
