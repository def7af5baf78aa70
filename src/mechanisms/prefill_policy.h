// Which selector the prompt rows of each layer go through.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mechanisms/prefill.h"

namespace heed {

class PrefillPolicy {
 public:
  // `text` is the canonical form, one line: what it names decides keys and values, so it enters
  // kv_hash. The selector serves all layers, but for those that have one of their own.
  PrefillPolicy(std::string text, std::shared_ptr<const PrefillSelector> selector)
      : text_(std::move(text)), selector_(std::move(selector)) {}

  // Null: that layer attends densely.
  void override_layer(int layer, std::shared_ptr<const PrefillSelector> selector) {
    if (layer < 0) return;
    const auto at = static_cast<size_t>(layer);
    if (own_.size() <= at) own_.resize(at + 1, {false, nullptr});
    own_[at] = {true, std::move(selector)};
  }

  const std::string& text() const { return text_; }
  // Null: dense.
  const PrefillSelector* of(int layer) const {
    const auto at = static_cast<size_t>(layer);
    return at < own_.size() && own_[at].first ? own_[at].second.get() : selector_.get();
  }

 private:
  std::string text_;
  std::shared_ptr<const PrefillSelector> selector_;
  std::vector<std::pair<bool, std::shared_ptr<const PrefillSelector>>> own_;  // by layer
};

}  // namespace heed
