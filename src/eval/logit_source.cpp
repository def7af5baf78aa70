#include "eval/logit_source.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace heed::eval {
namespace {

class HeedSource : public LogitSource {
 public:
  HeedSource(std::unique_ptr<Engine> engine, const CancelToken* cancel,
             std::shared_ptr<const Adaptation> adaptation)
      : engine_(std::move(engine)), cancel_(cancel), adaptation_(std::move(adaptation)) {}

  Status start() override {
    if (open_) HEED_TRY(engine_->drop(seq_));
    open_ = false;
    HEED_ASSIGN(seq_, engine_->create_sequence());
    open_ = true;
    return set_adaptation(*engine_, seq_, adaptation_);
  }

  Result<View<const float, 2>> feed(std::span<const Token> tokens) override {
    const int64_t vocab = engine_->model().info().vocab;
    const auto rows = static_cast<int64_t>(tokens.size());
    // The engine's own buffer is valid inside the callback only.
    logits_.resize(static_cast<size_t>(rows * vocab));
    int64_t received = 0;
    HEED_TRY(pass(tokens, [&](int64_t first_row, View<const float, 2> part) {
      for (int64_t r = 0; r < part.shape[0]; ++r) {
        std::copy_n(&part(r, 0), vocab, &logits_[static_cast<size_t>((first_row + r) * vocab)]);
      }
      received += part.shape[0];
    }));
    if (received != rows) {
      return error(Code::kInternal, "prefill of ", rows, " tokens gave ", received,
                   " rows of logits");
    }
    return View<const float, 2>::contiguous(logits_.data(), {rows, vocab});
  }

  Status pass(std::span<const Token> tokens, const LlamaBaseline::OnLogits& on_logits) override {
    if (tokens.empty()) return Status::ok();
    PrefillOptions options;
    options.cancel = cancel_;
    options.on_logits = on_logits;
    return engine_->prefill(seq_, tokens, options);
  }

 private:
  std::unique_ptr<Engine> engine_;
  const CancelToken* cancel_;
  std::shared_ptr<const Adaptation> adaptation_;
  SeqId seq_ = 0;
  bool open_ = false;
  std::vector<float> logits_;  // [tokens, vocab]
};

class LlamaSource : public LogitSource {
 public:
  explicit LlamaSource(std::unique_ptr<LlamaBaseline> llama) : llama_(std::move(llama)) {}

  Status start() override {
    llama_->clear();
    return Status::ok();
  }

  Result<View<const float, 2>> feed(std::span<const Token> tokens) override {
    if (static_cast<int>(tokens.size()) > llama_->options().ubatch) {
      return error(Code::kInternal, "llama.cpp keeps the logits of ", llama_->options().ubatch,
                   " tokens, ", tokens.size(), " were fed");
    }
    View<const float, 2> logits;
    HEED_TRY(llama_->prefill(tokens, [&](int64_t, View<const float, 2> rows) { logits = rows; }));
    llama_->park();
    return logits;
  }

  Status pass(std::span<const Token> tokens, const LlamaBaseline::OnLogits& on_logits) override {
    if (tokens.empty()) return Status::ok();
    HEED_TRY(llama_->prefill(tokens, on_logits));
    llama_->park();
    return Status::ok();
  }

 private:
  std::unique_ptr<LlamaBaseline> llama_;
};

}  // namespace

Status LogitSource::pass(std::span<const Token> tokens, const LlamaBaseline::OnLogits& on_logits) {
  HEED_ASSIGN(const auto logits, feed(tokens));
  if (on_logits) on_logits(0, logits);
  return Status::ok();
}

Result<std::unique_ptr<LogitSource>> make_heed_source(
    std::shared_ptr<Model> model, const EngineOptions& options, const CancelToken* cancel,
    std::shared_ptr<const Adaptation> adaptation) {
  HEED_ASSIGN(auto engine, Engine::create(std::move(model), options));
  return std::unique_ptr<LogitSource>(
      std::make_unique<HeedSource>(std::move(engine), cancel, std::move(adaptation)));
}

Result<std::unique_ptr<LogitSource>> make_llama_source(std::shared_ptr<LlamaModel> model,
                                                       const LlamaOptions& options) {
  HEED_ASSIGN(auto llama, LlamaBaseline::create(std::move(model), options));
  return std::unique_ptr<LogitSource>(std::make_unique<LlamaSource>(std::move(llama)));
}

}  // namespace heed::eval
