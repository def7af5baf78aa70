// llama.cpp in the same process: the peer of every comparison and the oracle of `heed kl`.
//
// Several baselines may share one LlamaModel (the weights are read-only). Nothing here aborts on a
// file or a token: whatever llama.cpp refuses comes back as a Status with its own first error line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heed/adapters.h"
#include "heed/engine.h"
#include "heed/status.h"
#include "heed/view.h"

struct llama_model;

namespace heed::eval {

// The weights as libllama loads them.
class LlamaModel {
 public:
  struct Options {
    bool repack = true;  // llama.cpp's use_extra_bufts: weights rearranged for its own kernels
    const CancelToken* cancel = nullptr;
  };
  static Result<std::shared_ptr<LlamaModel>> load(const std::string& path, const Options& options);
  ~LlamaModel();
  LlamaModel(const LlamaModel&) = delete;
  LlamaModel& operator=(const LlamaModel&) = delete;

  llama_model* get() const { return model_; }
  int vocab() const;

 private:
  explicit LlamaModel(llama_model* model) : model_(model) {}
  llama_model* model_;
};

struct LlamaOptions {
  bool flash = true;    // llama.cpp's flash attention
  bool repack = true;   // only for LlamaBaseline::load
  bool f32_kv = false;  // else f16
  int ubatch = 512;     // tokens a graph
  int batch = 2048;     // tokens a call of llama_decode, as llama-bench
  int threads = 1;
  int64_t context = 0;  // cells; llama.cpp rounds up. > 0
  RopeOptions rope;     // llama.cpp has no NTK
  std::vector<ScaledFile> loras;
  std::vector<float> control;  // [layers - 1, embd], from layer 1; empty: no control vector
  LayerRange control_range;
  // Makes take_profile() count. Off by default: llama.cpp then hands ggml whole graphs, which is
  // what its own tools do and what a fair rate is measured with.
  bool profile = false;
  const CancelToken* cancel = nullptr;  // polled inside every call
};

// Errors: threads, batch or context out of llama.cpp's range.
Status check_llama_options(const LlamaOptions& options);

// One short line for reports: "flash on, repack on, ubatch 512, f16 KV".
std::string describe(const LlamaOptions& options);

// Wall seconds of graph nodes: attention is whatever touches K or V.
struct LlamaProfile {
  double attention_s = 0;
  double total_s = 0;
};

class LlamaBaseline {
 public:
  static Result<std::unique_ptr<LlamaBaseline>> create(std::shared_ptr<LlamaModel> model,
                                                       const LlamaOptions& options);
  // Model and context in one call.
  static Result<std::unique_ptr<LlamaBaseline>> load(const std::string& path,
                                                     const LlamaOptions& options);
  ~LlamaBaseline();

  const LlamaOptions& options() const;
  int vocab() const;

  // Receives logits [rows, vocab] of prompt rows [first_row, first_row + rows) of one prefill call;
  // they stay valid until the next call of the baseline.
  using OnLogits = std::function<void(int64_t first_row, View<const float, 2> logits)>;
  // Tokens behind those already held. Without on_logits only the last row's logits are computed.
  // On error the baseline holds what it held before.
  Status prefill(std::span<const Token> tokens, const OnLogits& on_logits = {});
  Status decode(Token token);
  // Logits [vocab] behind the last token; valid until the next call.
  Result<std::span<const float>> logits();

  int64_t length() const;
  // Keeps the first n tokens. Errors: a sliding window has already dropped what that would need.
  Status truncate(int64_t n);
  void clear();
  // Bytes of keys and values that llama.cpp holds for the tokens so far (its own count for saving
  // the sequence; unused cells are not in it).
  uint64_t kv_bytes() const;

  // Sends the idle threads to sleep at once, so that they do not poll while another engine runs.
  // The next call wakes them.
  void park();

  // Node times since the last call of this (LlamaOptions::profile).
  LlamaProfile take_profile();

 private:
  struct Impl;
  explicit LlamaBaseline(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed::eval
