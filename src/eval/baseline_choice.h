// The strongest llama.cpp on this machine and file: a quick run over flash attention on and off,
// repacked weights on and off, ubatch 512 and 2048. Comparing against a default would flatter heed.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/llama_baseline.h"

namespace heed::eval {

// The file as libllama loads it with and without repacking, each loaded when first asked for.
class LlamaModels {
 public:
  LlamaModels(std::string path, const CancelToken* cancel)
      : path_(std::move(path)), cancel_(cancel) {}
  Result<std::shared_ptr<LlamaModel>> get(bool repack);
  void drop(bool repack) { models_[repack ? 1 : 0].reset(); }

 private:
  std::string path_;
  const CancelToken* cancel_;
  std::array<std::shared_ptr<LlamaModel>, 2> models_;
};

struct BaselineChoice {
  LlamaOptions prefill, decode;  // fastest at each; `context` is left for the test to set
};

// Tokens of the quick run's prompt: fewer cannot tell the ubatch sizes apart.
inline constexpr int64_t kQuickTokens = 2048;

// The configurations that are tried on a prompt of `tokens`.
std::vector<LlamaOptions> baseline_trials(int64_t tokens, int threads);

// The configuration of `one` with what `common` says of threads, cancelling and adapters.
LlamaOptions configured(const LlamaOptions& one, const LlamaOptions& common);

// `tokens`: the prompt of the quick run.
Result<BaselineChoice> choose_baseline(LlamaModels& models, const LlamaOptions& common,
                                       std::span<const Token> tokens,
                                       const std::function<void(const std::string&)>& say);

// "flash=on,repack=off,ubatch=512", in any order, each with llama.cpp's default when absent.
Result<LlamaOptions> parse_baseline(const std::string& text);

}  // namespace heed::eval
