// The accuracy beside every speed figure: mean KL(reference || engine) of exactly the configuration
// that was timed, on one 1,024-token window of a text that travels in the binary. The reference is
// heed with the file dequantised to F32 and f32 pages.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace heed::eval {

// About 1,300 tokens of prose of our own (in any of the known tokenizers at least 1,024).
std::string_view bench_text();

struct ReferenceKlJob {
  std::string path;
  int threads = 0;
  std::optional<EngineOptions> heed;
  Linear linear = Linear::kHeed;  // of heed
  // What heed and the reference compute with; the peer's are among its options.
  std::vector<std::string> loras;  // files, for the memory
  std::shared_ptr<const Adaptation> adaptation;
  std::optional<LlamaOptions> llama;
  bool refresh = false;  // measure even where a result is kept
  const CancelToken* cancel = nullptr;
  std::function<void(const std::string&)> say;
};

struct ReferenceKl {
  std::optional<double> heed, llama;  // empty where not asked or not possible
  std::string why_not;                // random weights, a vocabulary without text, ...
};

// Measured once per (file, configuration, this binary) and kept in $HEED_HOME/results.
Result<ReferenceKl> reference_kl(const ReferenceKlJob& job);

}  // namespace heed::eval
