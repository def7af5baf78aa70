#include "eval/bench_engine.h"

#include "base/text.h"
#include "eval/adapter_files.h"
#include "eval/peer_isa.h"

namespace heed::eval {
namespace {

class HeedBenchEngine : public BenchEngine {
 public:
  HeedBenchEngine(std::unique_ptr<Engine> engine, SeqId seq, Isa isa, const CancelToken* cancel)
      : engine_(std::move(engine)), seq_(seq), isa_(isa), cancel_(cancel) {}

  // Before the first token.
  Status adapt(std::shared_ptr<const Adaptation> adaptation) {
    adaptation_ = std::move(adaptation);
    return set_adaptation(*engine_, seq_, adaptation_);
  }

  const char* name() const override { return "heed"; }

  std::string config() const override {
    return cat("linear ", engine_->model().info().linear, ", ", format_name(*engine_->options().k),
               "/", format_name(*engine_->options().v), " KV, chunk ", engine_->options().chunk,
               ", ", isa_name(isa_),
               adaptation_
                   ? adapters_suffix(adaptation_->loras.size(), adaptation_->control != nullptr)
                   : std::string());
  }

  Status clear() override {
    HEED_TRY(engine_->drop(seq_));
    HEED_ASSIGN(seq_, engine_->create_sequence());
    return set_adaptation(*engine_, seq_, adaptation_);
  }

  Status prefill(std::span<const Token> tokens) override {
    PrefillOptions options;
    options.cancel = cancel_;
    return engine_->prefill(seq_, tokens, options);
  }

  Status decode(Token token) override {
    const SeqToken step{seq_, token};
    return engine_->decode(std::span<const SeqToken>(&step, 1), cancel_);
  }

  Status truncate(int64_t n) override { return engine_->truncate(seq_, n); }
  uint64_t kv_bytes() const override { return engine_->report().kv.committed; }
  void park() override { engine_->park(); }

  double take_attention_s() override {
    const Report report = engine_->report();
    const double total = report.attention_s + report.append_s;
    const double since = total - attention_before_;
    attention_before_ = total;
    return since;
  }

 private:
  std::unique_ptr<Engine> engine_;
  SeqId seq_;
  Isa isa_;
  const CancelToken* cancel_;
  std::shared_ptr<const Adaptation> adaptation_;
  double attention_before_ = 0;
};

class LlamaBenchEngine : public BenchEngine {
 public:
  explicit LlamaBenchEngine(std::unique_ptr<LlamaBaseline> llama) : llama_(std::move(llama)) {}

  const char* name() const override { return "llama.cpp"; }
  std::string config() const override {
    return cat(describe(llama_->options()), ", ", isa_name(peer_isa()));
  }

  Status clear() override {
    llama_->clear();
    return Status::ok();
  }

  Status prefill(std::span<const Token> tokens) override { return llama_->prefill(tokens); }
  Status decode(Token token) override { return llama_->decode(token); }
  Status truncate(int64_t n) override { return llama_->truncate(n); }
  uint64_t kv_bytes() const override { return llama_->kv_bytes(); }
  void park() override { llama_->park(); }
  double take_attention_s() override { return -1; }  // its nodes are timed apart (attention_share)

 private:
  std::unique_ptr<LlamaBaseline> llama_;
};

}  // namespace

Result<std::unique_ptr<BenchEngine>> make_heed_bench_engine(
    std::shared_ptr<Model> model, const EngineOptions& options, const CancelToken* cancel,
    std::shared_ptr<const Adaptation> adaptation) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  HEED_ASSIGN(auto engine, Engine::create(std::move(model), options));
  HEED_ASSIGN(const SeqId seq, engine->create_sequence());
  auto made = std::make_unique<HeedBenchEngine>(std::move(engine), seq, isa, cancel);
  HEED_TRY(made->adapt(std::move(adaptation)));
  return std::unique_ptr<BenchEngine>(std::move(made));
}

Result<std::unique_ptr<BenchEngine>> make_llama_bench_engine(std::shared_ptr<LlamaModel> model,
                                                             const LlamaOptions& options) {
  HEED_ASSIGN(auto llama, LlamaBaseline::create(std::move(model), options));
  return std::unique_ptr<BenchEngine>(std::make_unique<LlamaBenchEngine>(std::move(llama)));
}

}  // namespace heed::eval
