// `heed perplexity`: how surprised a model is by a text, by llama.cpp's definition.
//
// The text is tokenised once, the file's first token in front; windows of `context` tokens follow
// each other, each a fresh sequence whose first token becomes the beginning-of-text one where the
// model wants it. Only the second half of a window is scored, so that each scored token has at
// least half a window before it:
//   ppl = exp(mean of -ln p(token | the window before it)),
// with the standard error of that mean, times ppl, behind the +/-. With a stride, windows overlap
// and only the last `stride` tokens of each are scored; llama.cpp then lengthens the context by
// half a stride and puts no beginning-of-text token into later windows, and so does this.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "eval/adapter_files.h"
#include "heed/engine.h"

namespace heed::eval {

// The running sums of one engine.
struct Perplexity {
  int64_t tokens = 0;        // scored
  double nll = 0, nll2 = 0;  // sums of -ln p and of its square
  double seconds = 0;

  void add(double minus_log_p);
  double value() const;   // NaN without a token
  double margin() const;  // standard error of value(); 0 below two tokens
};

struct ScoredWindow {
  std::vector<Token> tokens;
  std::vector<Token> targets;  // tokens[i + 1] as the text has it, and one that is never scored
  int64_t first = 0;           // row of the first score; the last is tokens.size() - 2
};

// The windows of a text that is already in tokens. `bos`: put at each window's start; -1: nothing.
// `chunks` < 0: all. Errors: too few tokens, with the numbers.
Result<std::vector<ScoredWindow>> scored_windows(std::span<const Token> tokens, Token bos,
                                                 int64_t context, int64_t stride, int64_t chunks);

struct PerplexityOptions {
  std::string model;        // path of the GGUF file
  std::string model_label;  // what the report calls it; empty: the path
  std::string text;
  int64_t context = 512;  // tokens a window
  int64_t stride = 0;     // 0: windows do not overlap
  int64_t chunks = -1;    // windows at most; -1: all
  int threads = 0;        // 0: the cores this process may use
  Linear linear = Linear::kHeed;
  EngineOptions engine;  // `context` is set from above
  AdapterFiles adapters;
  bool compare = false;  // llama.cpp on the same windows, one after the other with heed
  const CancelToken* cancel = nullptr;
  std::function<void(const std::string& what, double fraction)> progress;  // while loading
  std::function<void(const std::string&)> say;                             // a line that stays
  std::function<void(const struct PerplexityReport&)> on_window;           // behind each
};

struct PerplexityReport {
  std::string model, text_sha256, linear, k_type, v_type, llama_config;
  std::string adaptation;  // adaptation_text(), empty without
  int64_t text_tokens = 0, context = 0, stride = 0, windows = 0, done = 0;
  int threads = 0;
  bool interrupted = false;  // `done` windows count
  Perplexity heed;
  std::optional<Perplexity> llama;
};

// Errors: the model or the text cannot be used, memory. A cancel is none: what was reached comes
// back.
Result<PerplexityReport> run_perplexity(const PerplexityOptions& options);

nlohmann::ordered_json to_json(const PerplexityReport& report);

}  // namespace heed::eval
