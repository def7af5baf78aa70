// The prefill policy of an engine inside its steps: which layers select, what they made of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/engine.h"
#include "mechanisms/prefill_policy.h"
#include "mechanisms/selection.h"
#include "model/hyperparameters.h"

namespace heed {

class PromptSelection {
 public:
  // `policy` may be null: no layer selects.
  PromptSelection(const Hyperparameters& hyper, std::shared_ptr<const PrefillPolicy> policy);

  // What the steps of a prompt take: chunks of up to `rows` rows, lists of up to `slots` slots.
  static Result<uint64_t> bytes_of(const Hyperparameters& hyper, const PrefillPolicy* policy,
                                   int rows, int64_t slots, int threads);

  bool any() const { return policy_ != nullptr; }
  // The selection that a layer's prompt rows go through; null: they attend densely. Layers that are
  // alike share one.
  Selection* of(int layer) const { return of_[static_cast<size_t>(layer)]; }

  // Behind the run of a layer of a prompt step, by one thread: adds up what it computed. Whether
  // the run's own counter says what the plan does; always, where it attended densely.
  bool count(int layer, const Call& call, uint64_t run_tiles);

  const std::vector<LayerSelection>& report() const { return report_; }
  void reset_report();

 private:
  std::shared_ptr<const PrefillPolicy> policy_;
  std::vector<std::unique_ptr<Selection>> selections_;
  std::vector<Selection*> of_;            // [layers]
  std::vector<LayerSelection> report_;    // [layers], none without a policy
  std::vector<select::PlanCounts> made_;  // [heads] of the layer at hand
};

}  // namespace heed
