// `heed bench -m MODEL`: prompt and generation rates of heed beside llama.cpp's, alternating in one
// process, with the accuracy of exactly the configurations that were timed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/adapter_files.h"
#include "eval/bench_report.h"
#include "eval/bench_rounds.h"
#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace heed::eval {

struct BenchOptions {
  std::string model;        // path of the GGUF file
  std::string model_label;  // what the rows call it; empty: the path
  std::vector<int64_t> prompts{512};
  std::vector<int64_t> generate{32};
  std::vector<int64_t> depths{0};
  bool cross = false;           // prompts at every depth too, as llama-bench
  bool beyond_context = false;  // past the trained context, for speed only; the rows are marked
  bool compare_llama = false;
  std::optional<LlamaOptions> baseline;  // empty: the best of a quick run
  int rounds = 0;                        // 0: by length (default_rounds)
  int threads = 0;                       // 0: the cores this process may use
  bool refresh_kl = false;
  Linear linear = Linear::kHeed;
  EngineOptions engine;  // context and beyond_context are set from the tests
  AdapterFiles adapters;
  const CancelToken* cancel = nullptr;
  std::function<void(const std::string&)> say;  // one line of progress
  // After each test, with every row so far.
  std::function<void(const BenchReport&)> on_rows;
};

// kOutOfRange or kInvalidArgument for what no file could make right.
Status check_options(const BenchOptions& options);

// The tests in the order they run. Errors: those of check_options, a test past the trained
// context without beyond_context (with both numbers and the way out).
Result<std::vector<BenchTest>> list_tests(const BenchOptions& options, int64_t trained_context);

Result<BenchReport> bench_model(const BenchOptions& options);

}  // namespace heed::eval
