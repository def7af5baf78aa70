#include "session/prompt_selection.h"

#include <algorithm>

#include "base/text.h"

namespace heed {
namespace {

// Why a layer attends densely although a selector is meant for it; empty: it selects.
std::string fallback_of(const LayerHyper& layer, const PrefillSelector& selector) {
  if (layer.window <= 0 || selector.takes_windows()) return {};
  return cat("a sliding window of ", layer.window, " keys, under which ", selector.name(),
             " does not select");
}

// Layers that one Selection serves: the same selector over rows and heads of the same shape.
struct Kind {
  const PrefillSelector* selector = nullptr;
  int window = 0, heads = 0, kv_heads = 0;

  bool operator==(const Kind&) const = default;
};

Kind kind_of(const Hyperparameters& hyper, const PrefillPolicy* policy, int layer) {
  const LayerHyper& shape = hyper.layer[static_cast<size_t>(layer)];
  const PrefillSelector* selector = policy == nullptr ? nullptr : policy->of(layer);
  if (selector == nullptr || !fallback_of(shape, *selector).empty()) return {};
  return {selector, shape.window, shape.heads, shape.kv_heads};
}

// Calls fn(kind, its number, layer) for every layer that selects.
template <class Fn>
void for_each_kind(const Hyperparameters& hyper, const PrefillPolicy* policy, const Fn& fn) {
  std::vector<Kind> kinds;
  for (int layer = 0; layer < hyper.layers; ++layer) {
    const Kind kind = kind_of(hyper, policy, layer);
    if (kind.selector == nullptr) continue;
    const auto at = std::find(kinds.begin(), kinds.end(), kind);
    const auto number = static_cast<size_t>(at - kinds.begin());
    if (at == kinds.end()) kinds.push_back(kind);
    fn(kind, number, layer);
  }
}

}  // namespace

PromptSelection::PromptSelection(const Hyperparameters& hyper,
                                 std::shared_ptr<const PrefillPolicy> policy)
    : policy_(std::move(policy)) {
  of_.resize(static_cast<size_t>(hyper.layers));
  for_each_kind(hyper, policy_.get(), [&](const Kind& kind, size_t number, int layer) {
    if (number == selections_.size()) {
      selections_.push_back(std::make_unique<Selection>(*kind.selector));
    }
    of_[static_cast<size_t>(layer)] = selections_[number].get();
  });
  if (policy_ == nullptr) return;
  report_.resize(of_.size());
  size_t most_heads = 0;
  for (size_t i = 0; i < of_.size(); ++i) {
    const LayerHyper& layer = hyper.layer[i];
    const PrefillSelector* selector = policy_->of(static_cast<int>(i));
    if (selector != nullptr) report_[i].fallback = fallback_of(layer, *selector);
    report_[i].heads.resize(static_cast<size_t>(layer.heads));
    most_heads = std::max(most_heads, report_[i].heads.size());
  }
  made_.resize(most_heads);
}

Result<uint64_t> PromptSelection::bytes_of(const Hyperparameters& hyper,
                                           const PrefillPolicy* policy, int rows, int64_t slots,
                                           int threads) {
  uint64_t bytes = 0;
  size_t counted = 0;
  Status wrong;
  for_each_kind(hyper, policy, [&](const Kind& kind, size_t number, int) {
    if (number < counted || !wrong.is_ok()) return;
    counted = number + 1;
    const SelectShape shape{
        {kind.heads, kind.kv_heads, nullptr}, hyper.dk, hyper.dv, rows, slots, threads};
    const Result<uint64_t> one = Selection::bytes_of(*kind.selector, shape);
    if (one.is_ok()) bytes += *one;
    wrong = one.status();
  });
  HEED_TRY(wrong);
  return bytes;
}

bool PromptSelection::count(int layer, const Call& call, uint64_t run_tiles) {
  const Selection* selection = of(layer);
  std::vector<LayerSelection::Head>& heads = report_[static_cast<size_t>(layer)].heads;
  std::fill(made_.begin(), made_.end(), select::PlanCounts{});
  if (selection != nullptr) selection->add_counts(made_);
  for (int g = 0; g < call.heads.n_kv; ++g) {
    const SeqRows& seq = call.seqs[0];
    const select::PlanCounts dense = select::count_visible(call, seq, g, 0, seq.rows);
    for (size_t h = 0; h < heads.size(); ++h) {
      if (call.heads.kv_of(static_cast<int>(h)) != g) continue;
      const select::PlanCounts& made = selection != nullptr ? made_[h] : dense;
      heads[h].tiles += made.tiles;
      heads[h].pairs += made.pairs;
      heads[h].dense_tiles += dense.tiles;
      heads[h].dense_pairs += dense.pairs;
    }
  }
  return selection == nullptr || selection->tiles() == run_tiles;
}

void PromptSelection::reset_report() {
  for (LayerSelection& layer : report_) {
    std::fill(layer.heads.begin(), layer.heads.end(), LayerSelection::Head{});
  }
}

}  // namespace heed
