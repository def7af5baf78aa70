// An engine as `heed kl` sees it: tokens in, the logits of every position out.
#pragma once

#include <memory>
#include <span>

#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace heed::eval {

class LogitSource {
 public:
  virtual ~LogitSource() = default;
  // A fresh sequence.
  virtual Status start() = 0;
  // Logits [tokens, vocab] behind each of `tokens`, which follow those fed since start(). Valid
  // until the next call of this source.
  virtual Result<View<const float, 2>> feed(std::span<const Token> tokens) = 0;
  // The same tokens without keeping their logits: rows are shown as they are made, or not computed
  // at all where nobody looks.
  virtual Status pass(std::span<const Token> tokens, const LlamaBaseline::OnLogits& on_logits);
};

Result<std::unique_ptr<LogitSource>> make_heed_source(
    std::shared_ptr<Model> model, const EngineOptions& options, const CancelToken* cancel,
    std::shared_ptr<const Adaptation> adaptation = nullptr);
Result<std::unique_ptr<LogitSource>> make_llama_source(std::shared_ptr<LlamaModel> model,
                                                       const LlamaOptions& options);

}  // namespace heed::eval
