// What a policy comes to for one head.
#include <algorithm>

#include "heed/policy.h"
#include "mechanisms/row.h"
#include "mechanisms/work.h"

namespace heed {

HeadPlan plan_head(const Policy& policy, const ModelShape& model, int layer, int head) {
  static const Setting kDense = default_setting(*registry().find("dense"));
  HeadPlan plan{kDense, {}};
  const ModelShape::Layer& shape = model.layers[static_cast<size_t>(layer)];
  const int group = std::max(shape.heads / std::max(shape.kv_heads, 1), 1);
  const int kv_head = head / group;
  const Assignment* prefill = policy.at(Stage::kPrefill, layer, head, kv_head);
  if (prefill == nullptr || prefill->chain.empty()) return plan;
  const Setting& asked = prefill->chain.front();
  const bool serves = shape.window == 0 || (asked.mechanism->capabilities & kWindowed) != 0;
  if (!serves || asked.mechanism->name == "dense") return plan;
  plan.prefill = asked;
  const Assignment* correct = policy.at(Stage::kCorrect, layer, head, kv_head);
  if (correct != nullptr) plan.correct = correct->chain;
  return plan;
}

std::optional<Work> predicted_density(const HeadPlan& plan, const ModelShape::Layer& layer,
                                      int64_t tokens) {
  if (tokens <= 0) return std::nullopt;
  if (plan.prefill.mechanism->name == "dense") return Work{1, 1};
  // Formulas are those of layers that see everything.
  if (layer.window > 0 && layer.window < tokens) return std::nullopt;
  Work sum;
  const auto add = [&](const Setting& s) {
    if (s.mechanism->work == nullptr) return false;
    const std::optional<Work> work = s.mechanism->work(tokens, s);
    if (!work) return false;
    sum.least += work->least;
    sum.most += work->most;
    return true;
  };
  if (!add(plan.prefill) || !std::ranges::all_of(plan.correct, add)) return std::nullopt;
  const double all = causal_pairs(0, tokens);
  return Work{sum.least / all, sum.most / all};
}

}  // namespace heed
