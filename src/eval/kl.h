// `heed kl`: how far heed's logits are from llama.cpp's, beside how far llama.cpp's are from its
// own.
//
// Four passes over the same windows of text, in one process and in lockstep:
//   heed        its default configuration, the one that is timed
//   llama.cpp   flash attention, f16 KV (its own default)
//   yardstick   llama.cpp without flash attention, f32 KV
//   reference   heed, the file dequantised to F32 in memory, f32 pages
// Top level = KL(llama.cpp || heed), yardstick = KL(llama.cpp || llama.cpp without flash),
// kl_vs_ref = mean KL(reference || engine).
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "eval/adapter_files.h"
#include "eval/kl_math.h"
#include "heed/engine.h"

namespace heed::eval {

struct KlOptions {
  std::string model;        // path of the GGUF file
  std::string model_label;  // what the report calls it; empty: the path
  std::string text;         // the text itself
  int64_t context = 2048;   // tokens a window
  int64_t windows = 0;      // at most; 0: all
  int threads = 0;          // 0: the cores this process may use
  // Both engines on a temporary F32 copy of the file, heed with f32 pages unless `engine` names
  // others.
  bool weights_f32 = false;
  Linear linear = Linear::kHeed;  // of heed's pass
  EngineOptions engine;           // of heed's pass; `context` is set from above
  AdapterFiles adapters;          // of every pass
  const CancelToken* cancel = nullptr;
  // What happens, with a fraction of it that is done, 0 to 1.
  std::function<void(const std::string& what, double fraction)> progress;
  std::function<void(const std::string&)> say;  // one line that stays
};

struct KlReport {
  std::string model, file_sha256, text_sha256;
  std::string adaptation;  // adaptation_text(), empty without
  int64_t context = 0, windows = 0, tokens = 0;
  std::string linear, k_type, v_type, isa, llama;
  int threads = 0;
  bool weights_f32 = false;
  PairStats heed;                      // KL(llama.cpp || heed)
  PairStats yardstick;                 // KL(llama.cpp || llama.cpp without flash)
  double ref_heed = 0, ref_llama = 0;  // mean KL(reference || engine)
};

// Errors: the model or the text cannot be used (each with its reason), memory, a cancel.
Result<KlReport> run_kl(const KlOptions& options);

// The one object that `heed kl -o json` prints.
nlohmann::ordered_json to_json(const KlReport& report);

}  // namespace heed::eval
