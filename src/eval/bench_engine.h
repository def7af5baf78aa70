// An engine as `heed bench` sees it: both contestants do the same work through this.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace heed::eval {

class BenchEngine {
 public:
  virtual ~BenchEngine() = default;
  virtual const char* name() const = 0;                       // "heed", "llama.cpp"
  virtual std::string config() const = 0;                     // one line: what exactly was timed
  virtual Status clear() = 0;                                 // a fresh sequence
  virtual Status prefill(std::span<const Token> tokens) = 0;  // the last row's logits are computed
  virtual Status decode(Token token) = 0;
  virtual Status truncate(int64_t n) = 0;
  virtual uint64_t kv_bytes() const = 0;  // of the sequence now
  virtual void park() = 0;                // idle threads sleep while the other one is timed
  // Seconds spent in attention (append included) since the last call of this; negative: not known.
  virtual double take_attention_s() = 0;
};

Result<std::unique_ptr<BenchEngine>> make_heed_bench_engine(
    std::shared_ptr<Model> model, const EngineOptions& options, const CancelToken* cancel,
    std::shared_ptr<const Adaptation> adaptation = nullptr);
Result<std::unique_ptr<BenchEngine>> make_llama_bench_engine(std::shared_ptr<LlamaModel> model,
                                                             const LlamaOptions& options);

}  // namespace heed::eval
