// Sequences: a model answers through heed's attention and store.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/format.h"
#include "heed/kv.h"
#include "heed/model.h"
#include "heed/status.h"
#include "heed/view.h"

namespace heed {

class PrefillPolicy;

enum class RopeScaling : uint8_t {
  kNone,
  kLinear,  // positions are divided by the factor
  kNtk,     // a base from which slow pairs turn so much slower and fast ones as before
  kYarn,    // slow pairs are scaled, fast ones not, scores grow a little
};
const char* rope_scaling_name(RopeScaling scaling);  // "none", "linear", "ntk", "yarn"
Result<RopeScaling> parse_rope_scaling(std::string_view name);

// How positions turn queries and keys, in place of what the file says, to stretch a context. Layers
// with a window and a rotation of their own keep it.
struct RopeOptions {
  std::optional<RopeScaling> scaling = {};  // absent: the file's
  double factor = 0;                        // by which the context grows; 0: the file's
  double base = 0;                          // of the frequencies; 0: the file's
  int64_t original_context = 0;             // that YaRN stretches; 0: the file's

  bool operator==(const RopeOptions&) const = default;
};

// Positions that an engine may reach: those of the training, or as often as many as a factor of the
// options says.
int64_t longest_context(const ModelInfo& model, const RopeOptions& options);

// How a prompt goes through the layers. Both give the same bits.
enum class PrefillOrder : uint8_t {
  kAuto,        // token-major unless the other's predicted peak is lower by some MiB
  kTokenMajor,  // chunk after chunk through all layers
  kLayerMajor,  // all chunks through one layer, then through the next: the residual of the whole
                // prompt stays in memory, and nothing of it is kept unless all of it is
};
const char* prefill_order_name(PrefillOrder order);  // "auto", "token", "layer"
Result<PrefillOrder> parse_prefill_order(std::string_view name);

struct EngineOptions {
  static constexpr int kMaxChunk = 8192;
  static constexpr int kMaxSequences = 1024;

  // Page formats; absent: the model's own, ModelInfo::default_k and default_v. `options()` of an
  // engine always has them.
  std::optional<Format> k, v;
  int chunk = 512;  // prompt tokens a step, up to kMaxChunk
  PrefillOrder prefill_order = PrefillOrder::kAuto;
  int64_t context = 0;          // positions a sequence may reach; 0: the trained context
  RopeOptions rope;             // with a factor the context may be that much longer
  bool beyond_context = false;  // let sequences run past the trained context (speed tests only)
  int max_sequences = 64;       // decoded together, up to kMaxSequences
  uint64_t max_kv_bytes = 0;    // 0: no limit
  // Which keys the rows of prompts read; null: all that they see. Generated tokens read all.
  std::shared_ptr<const PrefillPolicy> prefill = {};
};

struct PrefillOptions {
  const CancelToken* cancel = nullptr;
  // After each chunk: tokens done and total. In layer-major order after each chunk of every layer,
  // with the share of the work as tokens. It may use the engine for other sequences.
  std::function<void(int64_t done, int64_t total)> progress;
  // Called with the logits [rows, vocab] of prompt rows [first_row, first_row + rows), for every
  // row. Absent: only the last row's logits are computed. It may not use the engine.
  std::function<void(int64_t first_row, View<const float, 2> logits)> on_logits;
};

struct SeqToken {
  SeqId seq;
  Token token;
};

// What a prefill policy made of one layer's prompt rows. Counted in the plans that were run, which
// the counters of the runs confirm.
struct LayerSelection {
  struct Head {
    uint64_t tiles = 0;                         // (query row, page of 64 keys) computed
    uint64_t pairs = 0;                         // (query row, key) read
    uint64_t dense_tiles = 0, dense_pairs = 0;  // the same without a policy

    // Computed share of the (query row, key) pairs; 1 where there were none.
    double density() const {
      return dense_pairs == 0 ? 1.0 : static_cast<double>(pairs) / static_cast<double>(dense_pairs);
    }
    // The same in tiles, which is what time goes with.
    double tile_density() const {
      return dense_tiles == 0 ? 1.0 : static_cast<double>(tiles) / static_cast<double>(dense_tiles);
    }
  };
  std::string fallback;     // why the layer attended densely against the policy; empty: it did not
  std::vector<Head> heads;  // query heads
};

// Measured in the run itself; counters grow until reset_report.
struct Report {
  double load_s = 0, prefill_s = 0, decode_s = 0;
  double attention_s = 0, append_s = 0;  // inside the steps, member 0's wall clock
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;  // decoded or verified, also those that a truncate took back
  int64_t steps = 0;             // through all layers, or through one in layer-major order
  PrefillOrder prefill_order = PrefillOrder::kAuto;  // of the last prompt; kAuto: there was none
  int64_t graph_builds = 0;                          // all
  int64_t decode_graph_builds = 0;                   // built inside decode(): 0 per token once warm
  StoreBytes kv;
  uint64_t peak_resident = 0;  // bytes, of the process
  uint64_t attention_tiles = 0;
  double selection_s = 0;                 // of attention_s: choosing what prompt rows read
  std::vector<LayerSelection> selection;  // [layers]; none without a prefill policy
};

class Engine {
 public:
  // Rows of an on_logits call and tokens of a verify at most: 64 rows of the largest known
  // vocabulary (262,144) are 64 MiB.
  static constexpr int kLogitRows = 64;

  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<Model> model,
                                                const EngineOptions& options);
  ~Engine();

  const Model& model() const;
  const EngineOptions& options() const;
  Store& store();

  Result<SeqId> create_sequence();
  // Tokens behind what the sequence holds, chunk after chunk. On error or cancel the sequence keeps
  // the chunks that were committed; in layer-major order that is none, and until the call returns
  // the sequence is `filling`: it cannot be decoded, forked, truncated or dropped.
  Status prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options = {});
  // One generated token per sequence, all in one step. On error no sequence has moved.
  Status decode(std::span<const SeqToken> tokens, const CancelToken* cancel = nullptr);
  // Several tokens of one sequence in one step, with the logits of each, [tokens, vocab], valid
  // until the next call. With heed's own products (ModelInfo::linear) they are those of decoding
  // one token after the other, bit for bit. A truncate() to one of these tokens then keeps its
  // logits. At most kLogitRows tokens, and EngineOptions::chunk. On error the sequence has not
  // moved.
  Result<View<const float, 2>> verify(SeqId seq, std::span<const Token> tokens,
                                      const CancelToken* cancel = nullptr);
  // Logits [vocab] behind the last token of `seq`; valid until its next call.
  Result<std::span<const float>> logits(SeqId seq) const;
  // Shares pages and logits.
  Result<SeqId> fork(SeqId seq);
  // Keeps the first n tokens; logits are gone until the next token, but see verify().
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

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A run as far as its memory depends on it.
struct PlannedRun {
  int64_t prompt = 0;                       // tokens of one sequence
  int64_t answer = 0;                       // and behind them
  bool all_logits = false;                  // with PrefillOptions::on_logits
  int verified = 1;                         // tokens of a decode step at most, for verify()
  std::span<const std::string> loras = {};  // files of the adapters of the sequence
  bool control_vector = false;
};

// What a run would take, from the file's header alone.
struct MemoryPlan {
  uint64_t weights = 0;  // resident: mapped pages and repacked copies
  uint64_t kv = 0;       // at the end of the run
  uint64_t compute = 0;  // graph buffers, residual, workspace and logits, max_sequences taken at
                         // its word
  uint64_t peak = 0;     // the sum with the fixed part
  // The order that the options ask for, or else that an engine chooses, whose figures the ones
  // above are; and the peaks of both.
  PrefillOrder order = PrefillOrder::kTokenMajor;
  uint64_t token_major_peak = 0, layer_major_peak = 0;
  // Memory this process may still take (cgroup included); nothing when the system does not tell.
  std::optional<uint64_t> available;
  int64_t longest_prompt = 0;  // tokens that fit with the answer in `available` and in the context
};
Result<MemoryPlan> predict_memory(const std::string& path, const ModelOptions& model,
                                  const EngineOptions& engine, const PlannedRun& run);

}  // namespace heed
