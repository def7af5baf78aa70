// A model: a GGUF file's numbers, weights, vocabulary and templates.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/format.h"
#include "heed/status.h"

namespace heed {

using Token = int32_t;

// Fired by any thread, polled between graph nodes: a step in flight ends within milliseconds and
// leaves its sequences as they were before it.
class CancelToken {
 public:
  void cancel() { fired_.store(true, std::memory_order_relaxed); }
  void reset() { fired_.store(false, std::memory_order_relaxed); }
  bool cancelled() const { return fired_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> fired_{false};
};

enum class Weights : uint8_t {
  kAsStored,  // quantised products
  kF32,       // dequantised in memory: the reference of `heed kl`
};

enum class Linear : uint8_t {
  kHeed,      // heed's own: inputs of quantised weights in 8 bits, per 32 of them
  kGgml,      // ggml's, plain or repacked per type as measured
  kAccurate,  // heed's own: inputs and weights in bf16 where the processor multiplies it, else fp32
};

const char* linear_name(Linear linear);  // "heed", "ggml", "accurate"
Result<Linear> parse_linear(std::string_view name);

struct ModelOptions {
  int threads = 0;  // 0: the cores this process may use
  Weights weights = Weights::kAsStored;
  Linear linear = Linear::kHeed;  // of weights as stored
  bool map =
      true;  // false: the file is read into memory, so that later changes of it do not matter
  std::function<void(double fraction)> progress;  // while loading
  // Seen between slices of some MiB, and each time llama.cpp logs while it reads the vocabulary.
  const CancelToken* cancel = nullptr;
};

// How the rows of a text's tokens become what stands for the text, under llama.cpp's names and the
// numbers of the key pooling_type.
enum class Pooling : uint8_t {
  kNone,  // they do not: a row a token
  kMean,
  kCls,   // the first
  kLast,  // the last
  kRank,  // a classifier behind the first: scores of pairs of texts, which heed does not compute
};

// A key general.sampling.NAME of a file: how its makers want it sampled.
struct SamplingKey {
  std::string name;  // "top_k"
  std::string text;  // "20"
  double number = 0;
  bool known = true;  // false: nobody here reads it, and `text` is empty
};

struct ModelInfo {
  std::string path;
  std::string architecture;  // "llama", "qwen3", "gemma3"
  std::string name;          // general.name, may be empty
  std::string file_type;     // "Q4_1", "Q4_K_M", ...
  uint64_t file_bytes = 0;
  uint64_t parameters = 0;
  int layers = 0, embd = 0, heads = 0, kv_heads = 0, dk = 0, dv = 0, ff = 0, vocab = 0;
  int experts = 0, experts_used = 0;  // of a layer and of a token; 0: none, else ff is of one
  int64_t trained_context = 0;
  // LongRoPE: an engine with a context beyond this turns keys otherwise. 0: all contexts are alike.
  int64_t rope_context = 0;
  bool v_in_k = false;  // values are the first dv dims of the keys and take no place of their own
  std::vector<int> window;  // per layer, 0 = all
  bool has_chat_template = false;
  bool encoder = false;               // gives rows for a text (heed/embed.h), no next token
  Pooling pooling = Pooling::kNone;   // what the file asks for
  std::vector<SamplingKey> sampling;  // take_recommended() puts them into options
  Format default_k = Format::kBf16;   // pages that keep the model's logits (docs/numerics.md)
  Format default_v = Format::kBf16;
  std::string linear;  // how products run: "heed", "ggml plain+repack", for reports
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class Model {
 public:
  // Errors: not a GGUF, corrupt, an architecture heed does not know (with the supported list), a
  // key that changes the mathematics and is not handled.
  static Result<std::shared_ptr<Model>> load(const std::string& path, const ModelOptions& options);
  // Hyper-parameters only; reads the header, not the weights.
  static Result<ModelInfo> inspect(const std::string& path);
  ~Model();

  const ModelInfo& info() const;
  int threads() const;

  // --- text (llama.cpp's tokenizer and Jinja templates)
  Result<std::vector<Token>> tokenize(std::string_view text, bool add_special,
                                      bool parse_special) const;
  // Bytes of one token, maybe part of a UTF-8 character; empty where the file has no tokenizer.
  Result<std::string> piece(Token token) const;
  bool is_end(Token token) const;  // end of generation
  // The whole conversation through the model's own template. Errors: the file has none.
  Result<std::string> apply_template(std::span<const ChatMessage> messages,
                                     bool add_generation_prompt) const;

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed
