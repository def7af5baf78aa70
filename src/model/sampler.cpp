// llama.cpp's sampler chain over logits of heed.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/guard.h"
#include "base/text.h"
#include "heed/sampling.h"
#include "llama.h"
#include "model/grammar.h"
#include "model/model_impl.h"
#include "model/sampler.h"

namespace heed {
namespace {

struct SamplerFree {
  void operator()(llama_sampler* s) const { llama_sampler_free(s); }
};
using SamplerPtr = std::unique_ptr<llama_sampler, SamplerFree>;

// Null when the file has no text: stages that read it would stop the process.
const llama_vocab* text_of(const Model& model) {
  const llama_vocab* vocab = llama_model_get_vocab(model.impl().vocab);
  return llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE ? nullptr : vocab;
}

// True when a stage may drop the most likely token; all others keep it, so that a greedy choice
// needs what changes logits and nothing else.
bool may_drop_the_best(const std::string& stage, const SamplerOptions& o) {
  return (stage == "typ_p" && o.typ_p < 1) || (stage == "xtc" && o.xtc_probability > 0) ||
         stage == "infill" || (stage == "adaptive_p" && o.adaptive_target >= 0);
}

bool changes_logits(const std::string& stage) { return stage == "penalties" || stage == "dry"; }

class ChainBuilder {
 public:
  ChainBuilder(const Model& model, const SamplerOptions& options, uint32_t seed)
      : model_(model), o_(options), seed_(seed) {}

  Result<SamplerPtr> build() {
    chain_.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    HEED_TRY(add_biases());
    if (o_.mirostat != 0) {
      add_mirostat();
      return std::move(chain_);
    }
    HEED_ASSIGN(const std::vector<std::string> stages, sampler_chain(o_));
    const bool greedy = o_.temperature <= 0;
    const bool full = !greedy || std::any_of(stages.begin(), stages.end(), [&](const auto& stage) {
      return may_drop_the_best(stage, o_);
    });
    bool adaptive = false;
    for (const std::string& stage : stages) {
      if (stage == "adaptive_p") {
        adaptive = true;  // draws, so it goes to the end in place of the usual draw
      } else if (full || changes_logits(stage)) {
        HEED_TRY(add_stage(stage));
      }
    }
    if (adaptive && full) {
      add(llama_sampler_init_adaptive_p(o_.adaptive_target, o_.adaptive_decay, seed_));
    } else {
      add(full ? llama_sampler_init_dist(seed_) : llama_sampler_init_greedy());
    }
    return std::move(chain_);
  }

 private:
  void add(llama_sampler* made) {
    SamplerPtr owner(made);  // until the chain has it
    llama_sampler_chain_add(chain_.get(), made);
    static_cast<void>(owner.release());
  }

  Status add_biases() {
    const int vocab = model_.info().vocab;
    std::vector<llama_logit_bias> biases;
    for (const LogitBias& b : o_.logit_bias) {
      if (b.token >= vocab) {
        return error(Code::kOutOfRange, "logit-bias for token ", b.token, ", must be 0 to ",
                     vocab - 1);
      }
      biases.push_back({b.token, b.bias});
    }
    if (const llama_vocab* text = text_of(model_)) {
      int32_t count = 0;  // tokens that the file itself forbids
      const llama_token* never = llama_vocab_get_suppress_tokens(text, &count);
      for (int32_t i = 0; i < count; ++i) {
        if (never[i] >= 0 && never[i] < vocab) biases.push_back({never[i], -INFINITY});
      }
      for (llama_token t = 0; o_.ignore_eos && t < llama_vocab_n_tokens(text); ++t) {
        if (llama_vocab_is_eog(text, t)) biases.push_back({t, -INFINITY});
      }
    }
    if (biases.empty()) return Status::ok();
    add(llama_sampler_init_logit_bias(vocab, static_cast<int32_t>(biases.size()), biases.data()));
    return Status::ok();
  }

  void add_mirostat() {
    constexpr int32_t kEstimated = 100;  // tokens from which version 1 takes the slope; the paper's
    add(llama_sampler_init_temp(std::max(o_.temperature, 0.0f)));
    if (o_.mirostat == 1) {
      add(llama_sampler_init_mirostat(model_.info().vocab, seed_, o_.mirostat_tau, o_.mirostat_eta,
                                      kEstimated));
    } else {
      add(llama_sampler_init_mirostat_v2(seed_, o_.mirostat_tau, o_.mirostat_eta));
    }
  }

  Status add_stage(const std::string& name) {
    const auto min_keep = static_cast<size_t>(o_.min_keep);
    if (name == "penalties") {
      add(llama_sampler_init_penalties(model_.info().vocab, o_.repeat_last_n, o_.repeat_penalty,
                                       o_.frequency_penalty, o_.presence_penalty));
    } else if (name == "dry") {
      return add_dry();
    } else if (name == "top_n_sigma") {
      add(llama_sampler_init_top_n_sigma(o_.top_n_sigma));
    } else if (name == "top_k") {
      add(llama_sampler_init_top_k(o_.top_k));
    } else if (name == "typ_p") {
      add(llama_sampler_init_typical(o_.typ_p, min_keep));
    } else if (name == "top_p") {
      add(llama_sampler_init_top_p(o_.top_p, min_keep));
    } else if (name == "min_p") {
      add(llama_sampler_init_min_p(o_.min_p, min_keep));
    } else if (name == "xtc") {
      add(llama_sampler_init_xtc(o_.xtc_probability, o_.xtc_threshold, min_keep, seed_));
    } else if (name == "temperature") {
      add(llama_sampler_init_temp_ext(std::max(o_.temperature, 0.0f), o_.dynatemp_range,
                                      o_.dynatemp_exponent));
    } else if (name == "infill") {
      return add_infill();
    } else {
      return error(Code::kInternal, "the sampler '", name, "' has no stage");
    }
    return Status::ok();
  }

  Status add_dry() {
    if (o_.dry_multiplier == 0 || o_.dry_penalty_last_n == 0) return Status::ok();
    std::vector<const char*> breakers;
    for (const std::string& text : o_.dry_sequence_breakers) breakers.push_back(text.c_str());
    const llama_vocab* vocab = text_of(model_);
    if (vocab == nullptr && !breakers.empty()) {
      return Status(Code::kUnsupported,
                    "dry looks for its sequence breakers in the text, but this model file has no "
                    "tokenizer; use dry-sequence-breaker none");
    }
    add(llama_sampler_init_dry(vocab, o_.dry_multiplier, o_.dry_base, o_.dry_allowed_length,
                               o_.dry_penalty_last_n, breakers.data(), breakers.size()));
    return Status::ok();
  }

  Status add_infill() {
    const llama_vocab* vocab = text_of(model_);
    const bool can_end = vocab != nullptr && (llama_vocab_eot(vocab) != LLAMA_TOKEN_NULL ||
                                              llama_vocab_eos(vocab) != LLAMA_TOKEN_NULL);
    if (!can_end) {
      return Status(Code::kUnsupported,
                    "infill ends the text by itself, but this model file names no end token; leave "
                    "infill out of the chain");
    }
    add(llama_sampler_init_infill(vocab));
    return Status::ok();
  }

  const Model& model_;
  const SamplerOptions& o_;
  uint32_t seed_;
  SamplerPtr chain_;
};

// Never the number that means "from the clock" to llama.cpp.
uint32_t settle_seed(uint32_t asked) {
  std::random_device device;
  while (asked == LLAMA_DEFAULT_SEED) asked = device();
  return asked;
}

}  // namespace

struct Sampler::Impl {
  Result<Token> sample(std::span<const float> logits);
  Status fill(std::span<const float> logits);
  Result<Token> choose();

  SamplerPtr chain;
  std::unique_ptr<TokenGrammar> grammar;     // null: none
  std::vector<llama_token_data> candidates;  // [vocab]
  uint32_t seed = 0;
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::~Sampler() = default;

Result<std::unique_ptr<Sampler>> Sampler::create(const Model& model,
                                                 const SamplerOptions& options) {
  return guarded("making the sampler", [&]() -> Result<std::unique_ptr<Sampler>> {
    HEED_TRY(check_sampler(options));
    auto impl = std::make_unique<Impl>();
    impl->seed = settle_seed(options.seed);
    HEED_ASSIGN(impl->chain, ChainBuilder(model, options, impl->seed).build());
    impl->candidates.resize(static_cast<size_t>(model.info().vocab));
    if (!options.grammar.gbnf.empty()) {
      HEED_ASSIGN(impl->grammar, TokenGrammar::create(text_of(model), options.grammar));
    }
    return std::unique_ptr<Sampler>(new Sampler(std::move(impl)));
  });
}

Status Sampler::Impl::fill(std::span<const float> logits) {
  if (logits.size() != candidates.size()) {
    return error(Code::kInvalidArgument, logits.size(), " logits for a vocabulary of ",
                 candidates.size());
  }
  bool any = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    // Sorting numbers that compare as nothing would run out of its bounds.
    if (std::isnan(logits[i]) || logits[i] == INFINITY) {
      return error(Code::kCorrupt, "the logit of token ", i, " is ", logits[i],
                   ": the model's weights are damaged or overflow; pull or convert it again");
    }
    any = any || logits[i] != -INFINITY;
    candidates[i] = {static_cast<llama_token>(i), logits[i], 0.0f};
  }
  return any ? Status::ok() : Status(Code::kCorrupt, "every logit is -inf: no token can follow");
}

Result<Token> Sampler::Impl::choose() {
  llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
  llama_sampler_apply(chain.get(), &array);
  if (array.selected < 0 || static_cast<size_t>(array.selected) >= array.size) {
    return Status(Code::kInternal, "the sampler chain chose no token");
  }
  if (array.data[array.selected].logit == -INFINITY) {
    return error(Code::kInvalidArgument,
                 "no token can follow: ", grammar == nullptr ? "" : "the grammar, ",
                 "biases and samplers forbid all; leave some out");
  }
  return array.data[array.selected].id;
}

Result<Token> Sampler::Impl::sample(std::span<const float> logits) {
  HEED_TRY(fill(logits));
  HEED_ASSIGN(Token token, choose());
  if (grammar != nullptr) {
    // To look at one token is cheap, at all of them dearer than the step of a small model.
    HEED_ASSIGN(const bool fits, grammar->allows(token));
    if (!fits) {
      HEED_TRY(fill(logits));
      HEED_TRY(grammar->forbid(candidates));
      HEED_ASSIGN(token, choose());
    }
    HEED_TRY(grammar->accept(token));
  }
  llama_sampler_accept(chain.get(), token);
  return token;
}

bool Sampler::finished() const { return impl_->grammar != nullptr && impl_->grammar->finished(); }

Result<Token> Sampler::sample(std::span<const float> logits) {
  return guarded("sampling", [&] { return impl_->sample(logits); });
}

Status Sampler::accept(Token token) {
  if (token < 0 || static_cast<size_t>(token) >= impl_->candidates.size()) {
    return error(Code::kOutOfRange, "token ", token, " is not of the vocabulary, must be 0 to ",
                 impl_->candidates.size() - 1);
  }
  return guarded("sampling", [&] {
    llama_sampler_accept(impl_->chain.get(), token);
    return Status::ok();
  });
}

uint32_t Sampler::seed() const { return impl_->seed; }

}  // namespace heed
