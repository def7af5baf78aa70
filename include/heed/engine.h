// Models and sequences: a GGUF file answers through heed's attention and store.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/cpu.h"
#include "heed/format.h"
#include "heed/kv.h"
#include "heed/status.h"
#include "heed/view.h"

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

// --- model ---------------------------------------------------------------------------------------

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

// A key general.sampling.NAME of a file: how its makers want it sampled.
struct SamplingKey {
  std::string name;  // "top_k"
  std::string text;  // "20"
  double number = 0;
  bool known = true;  // false: nobody here reads it, and `text` is empty
};

struct ModelInfo {
  std::string path;
  std::string architecture;  // "llama", "qwen2", "gemma3"
  std::string name;          // general.name, may be empty
  std::string file_type;     // "Q4_1", "Q4_K_M", ...
  uint64_t file_bytes = 0;
  uint64_t parameters = 0;
  int layers = 0, embd = 0, heads = 0, kv_heads = 0, dk = 0, dv = 0, ff = 0, vocab = 0;
  int64_t trained_context = 0;
  std::vector<int> window;  // per layer, 0 = all
  bool has_chat_template = false;
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

// --- sampling ------------------------------------------------------------------------------------

struct LogitBias {
  Token token = 0;
  float bias = 0;  // added to its logit; -infinity forbids the token
};

// llama.cpp's chain, defaults and spellings; temperature <= 0 is greedy.
struct SamplerOptions {
  float temperature = 0.8f;
  float dynatemp_range = 0;  // temperature +- range by entropy; 0: off
  float dynatemp_exponent = 1.0f;
  int top_k = 40;             // <= 0: all
  float top_p = 0.95f;        // 1: all
  float min_p = 0.05f;        // 0: all
  float typ_p = 1.0f;         // 1: all
  float top_n_sigma = -1.0f;  // <= 0: all
  float xtc_probability = 0;  // 0: off
  float xtc_threshold = 0.1f;
  int min_keep = 0;  // candidates that top_p, min_p, typ_p and xtc leave at least
  float repeat_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int repeat_last_n = 64;
  float dry_multiplier = 0;  // 0: off
  float dry_base = 1.75f;
  int dry_allowed_length = 2;
  int dry_penalty_last_n = 64;
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};
  float adaptive_target = -1.0f;  // for "adaptive_p" in `samplers`; < 0: draws as usual
  float adaptive_decay = 0.9f;
  int mirostat = 0;  // 1 or 2: this version replaces every filter of the chain
  float mirostat_tau = 5.0f;
  float mirostat_eta = 0.1f;
  std::vector<LogitBias> logit_bias;
  bool ignore_eos = false;            // end tokens are forbidden, as by llama.cpp's --ignore-eos
  uint32_t seed = 0xFFFFFFFF;         // this value: from the clock
  std::vector<std::string> samplers;  // names in order; empty = llama.cpp's default chain
};

// Puts what the file recommends into `options`, as llama.cpp's programs do, but for the names in
// `own` ("temp", "top_k", "sequence"): these the user has set. Mirostat and a chain exclude each
// other, so an own one of them keeps the file's other one out. Returns what was taken.
Result<std::vector<SamplingKey>> take_recommended(const ModelInfo& model,
                                                  std::span<const std::string> own,
                                                  SamplerOptions& options);

class Sampler {
 public:
  static Result<std::unique_ptr<Sampler>> create(const Model& model, const SamplerOptions& options);
  ~Sampler();
  // Chooses from logits [vocab] and remembers the choice for penalties. Errors: logits that are no
  // numbers (a damaged model).
  Result<Token> sample(std::span<const float> logits);
  Status accept(Token token);  // a prompt token, for penalties
  uint32_t seed() const;

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// --- engine --------------------------------------------------------------------------------------

struct EngineOptions {
  static constexpr int kMaxChunk = 8192;
  static constexpr int kMaxSequences = 1024;

  // Page formats; absent: the model's own, ModelInfo::default_k and default_v. `options()` of an
  // engine always has them.
  std::optional<Format> k, v;
  int chunk = 512;              // prompt tokens a step, up to kMaxChunk
  int64_t context = 0;          // positions a sequence may reach; 0: the trained context
  bool beyond_context = false;  // let sequences run past the trained context (speed tests only)
  int max_sequences = 64;       // decoded together, up to kMaxSequences
  uint64_t max_kv_bytes = 0;    // 0: no limit
};

struct PrefillOptions {
  const CancelToken* cancel = nullptr;
  // After each chunk: tokens done and total.
  std::function<void(int64_t done, int64_t total)> progress;
  // Called with the logits [rows, vocab] of prompt rows [first_row, first_row + rows), for every
  // row. Absent: only the last row's logits are computed.
  std::function<void(int64_t first_row, View<const float, 2> logits)> on_logits;
};

struct SeqToken {
  SeqId seq;
  Token token;
};

// Measured in the run itself; counters grow until reset_report.
struct Report {
  double load_s = 0, prefill_s = 0, decode_s = 0;
  double attention_s = 0, append_s = 0;  // inside the steps, member 0's wall clock
  int64_t prompt_tokens = 0, generated_tokens = 0;
  int64_t steps = 0;
  int64_t graph_builds = 0;         // all
  int64_t decode_graph_builds = 0;  // built inside decode(): 0 per token once warm
  StoreBytes kv;
  uint64_t peak_resident = 0;  // bytes, of the process
  uint64_t attention_tiles = 0;
};

class Engine {
 public:
  // Rows of an on_logits call at most: 64 rows of the largest known vocabulary (262,144) are 64
  // MiB.
  static constexpr int kLogitRows = 64;

  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<Model> model,
                                                const EngineOptions& options);
  ~Engine();

  const Model& model() const;
  const EngineOptions& options() const;
  Store& store();

  Result<SeqId> create_sequence();
  // Tokens behind what the sequence holds, chunk after chunk. On error or cancel the sequence keeps
  // the chunks that were committed.
  Status prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options = {});
  // One generated token per sequence, all in one step. On error no sequence has moved.
  Status decode(std::span<const SeqToken> tokens, const CancelToken* cancel = nullptr);
  // Logits [vocab] behind the last token of `seq`; valid until its next call.
  Result<std::span<const float>> logits(SeqId seq) const;
  // Shares pages and logits.
  Result<SeqId> fork(SeqId seq);
  // Keeps the first n tokens; logits are gone until the next token.
  Status truncate(SeqId seq, int64_t n);
  Status drop(SeqId seq);
  int64_t length(SeqId seq) const;

  Report report() const;
  void reset_report();

  // Sends the idle threads to sleep at once instead of polling for the next step (a benchmark's
  // other contestant needs the cores). The next call wakes them.
  void park();

  // Tests: the step fails after graph node n (0-based) with kInternal, -1 = never.
  void fail_after_node(int n);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A run as far as its memory depends on it.
struct PlannedRun {
  int64_t prompt = 0;       // tokens of one sequence
  int64_t answer = 0;       // and behind them
  bool all_logits = false;  // with PrefillOptions::on_logits
};

// What a run would take, from the file's header alone.
struct MemoryPlan {
  uint64_t weights = 0;  // resident: mapped pages and repacked copies
  uint64_t kv = 0;       // at the end of the run
  uint64_t compute = 0;  // graph buffers, workspace and logits, max_sequences taken at its word
  uint64_t peak = 0;     // the sum with the fixed part
  // Memory this process may still take (cgroup included); nothing when the system does not tell.
  std::optional<uint64_t> available;
  int64_t longest_prompt = 0;  // tokens that fit with the answer in `available` and in the context
};
Result<MemoryPlan> predict_memory(const std::string& path, const ModelOptions& model,
                                  const EngineOptions& engine, const PlannedRun& run);

// --- generation ----------------------------------------------------------------------------------

struct GenerateOptions {
  int64_t max_tokens = -1;  // -1: until an end token or the context
  SamplerOptions sampler;
  bool ignore_eos = false;  // goes into the sampler
  const CancelToken* cancel = nullptr;
  std::function<void(Token token, std::string_view text)> on_token;  // complete UTF-8 only
  std::function<void(int64_t done, int64_t total)> on_prefill;
};

enum class StopReason { kEnd, kLength, kContext, kCancelled };
const char* stop_reason_name(StopReason reason);

struct Generation {
  std::vector<Token> tokens;
  std::string text;
  StopReason stop = StopReason::kEnd;
  int64_t prompt_tokens = 0;
  double prompt_s = 0;       // the prefill alone
  double first_token_s = 0;  // from the call to the first token
  double decode_s = 0;       // of tokens behind the first
  uint32_t seed = 0;         // of the sampling, drawn from the clock or given
};

// Prefill `prompt` and generate. A cancel is not an error: the text so far comes back.
Result<Generation> generate(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options);

}  // namespace heed
