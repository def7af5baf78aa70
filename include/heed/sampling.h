// How the next token is drawn from logits: llama.cpp's samplers under their names.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/model.h"
#include "heed/status.h"

namespace heed {

struct LogitBias {
  Token token = 0;
  float bias = 0;  // added to its logit; -infinity forbids the token
};

// Text or a token that puts a lazy grammar to work.
struct GrammarTrigger {
  enum class Kind : uint8_t { kWord, kToken, kPattern, kWholePattern };
  Kind kind = Kind::kWord;
  std::string text = {};  // a word, or a regular expression (ECMAScript)
  Token token = 0;
};

// What the answer must match: llama.cpp's GBNF with its meaning, from the rule `root`.
struct GrammarOptions {
  std::string gbnf;  // empty: anything
  // The rest is for tool calls (heed/chat.h), where a model may speak freely until it calls.
  bool lazy = false;  // nothing is forbidden until a trigger
  std::vector<GrammarTrigger> triggers;
  std::string prefill;  // text of the prompt's end that the grammar has already passed
  // Triggers in between are thoughts and no calls.
  std::string think_start;
  std::vector<std::string> think_ends;
};

// Errors name line and column. Tokens by name are taken for granted: those need a model.
Status check_grammar(std::string_view gbnf);

// GBNF that a JSON schema stands for. Errors: no JSON, or a schema that cannot be expressed.
Result<std::string> grammar_of_schema(const std::string& json_schema);

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
  GrammarOptions grammar;
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
  // Chooses from logits [vocab] and remembers the choice for penalties and grammar. With a grammar:
  // the chain chooses, and where the grammar refuses its choice, the chain chooses again among what
  // the grammar allows, as llama.cpp does. Errors: logits that are no numbers (a damaged
  // model); nothing that the grammar allows.
  Result<Token> sample(std::span<const float> logits);
  Status accept(Token token);  // a prompt token, for penalties
  // The grammar is matched to its end: no token but an end token could follow.
  bool finished() const;
  uint32_t seed() const;

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heed
