// llama.cpp's sampler chain over logits of heed.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "base/guard.h"
#include "base/nearest.h"
#include "base/text.h"
#include "heed/engine.h"
#include "llama.h"
#include "model/sampler.h"

namespace heed {
namespace {

// The default chain of llama.cpp, in its order.
constexpr std::array kChain = {"penalties", "dry",   "top_n_sigma", "top_k",      "typ_p",
                               "top_p",     "min_p", "xtc",         "temperature"};
// Spellings that llama.cpp also takes.
constexpr std::array<std::pair<const char*, const char*>, 6> kAliases = {{
    {"top-k", "top_k"},
    {"top-p", "top_p"},
    {"min-p", "min_p"},
    {"typical", "typ_p"},
    {"top-n-sigma", "top_n_sigma"},
    {"temp", "temperature"},
}};

Result<std::string> canonical(const std::string& name) {
  for (const auto& [alias, target] : kAliases) {
    if (name == alias) return std::string(target);
  }
  if (std::find(kChain.begin(), kChain.end(), name) != kChain.end()) return name;
  const std::string near = nearest_name(name, kChain);
  std::string all;
  for (const char* known : kChain) all += (all.empty() ? "" : ", ") + std::string(known);
  return error(Code::kInvalidArgument, "unknown sampler '", name, "'",
               near.empty() ? "" : "; did you mean '" + near + "'?", " Known are ", all);
}

Status check_number(const char* name, float value, float low, float high) {
  if (std::isfinite(value) && value >= low && value <= high) return Status::ok();
  return error(Code::kOutOfRange, name, " is ", value, "; it must be from ", low, " to ", high);
}

llama_sampler* make_stage(const std::string& name, const SamplerOptions& o, int vocab) {
  if (name == "penalties") {
    return llama_sampler_init_penalties(vocab, o.repeat_last_n, o.repeat_penalty,
                                        o.frequency_penalty, o.presence_penalty);
  }
  if (name == "top_k") return llama_sampler_init_top_k(o.top_k);
  if (name == "top_p") return llama_sampler_init_top_p(o.top_p, 0);
  if (name == "min_p") return llama_sampler_init_min_p(o.min_p, 0);
  if (name == "temperature") return llama_sampler_init_temp(std::max(o.temperature, 0.0f));
  // dry, top_n_sigma, typ_p and xtc are in llama.cpp's default chain with the settings that change
  // nothing, and have no option here yet.
  return nullptr;
}

}  // namespace

Status check_sampler(const SamplerOptions& o) {
  HEED_TRY(check_number("temperature", o.temperature, -1e6f, 1e6f));
  HEED_TRY(check_number("top-p", o.top_p, 0.0f, 1.0f));
  HEED_TRY(check_number("min-p", o.min_p, 0.0f, 1.0f));
  HEED_TRY(check_number("presence-penalty", o.presence_penalty, -100.0f, 100.0f));
  HEED_TRY(check_number("frequency-penalty", o.frequency_penalty, -100.0f, 100.0f));
  HEED_TRY(check_number("repeat-penalty", o.repeat_penalty, 1e-3f, 1e3f));
  if (o.repeat_last_n < 0 || o.repeat_last_n > (1 << 24)) {
    return error(Code::kOutOfRange, "repeat-last-n is ", o.repeat_last_n, "; it must be from 0 to ",
                 1 << 24);
  }
  for (const std::string& name : o.samplers) HEED_TRY(canonical(name));
  return Status::ok();
}

struct Sampler::Impl {
  static Result<std::unique_ptr<Sampler>> create(const Model& model, const SamplerOptions& options);
  llama_sampler* chain = nullptr;
  std::vector<llama_token_data> candidates;  // [vocab]
  uint32_t seed = 0;
  ~Impl() {
    if (chain != nullptr) llama_sampler_free(chain);
  }
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::~Sampler() = default;

Result<std::unique_ptr<Sampler>> Sampler::create(const Model& model,
                                                 const SamplerOptions& options) {
  return guarded("making the sampler", [&] { return Impl::create(model, options); });
}

Result<std::unique_ptr<Sampler>> Sampler::Impl::create(const Model& model,
                                                       const SamplerOptions& options) {
  HEED_TRY(check_sampler(options));
  const int vocab = model.info().vocab;
  std::vector<std::string> names = options.samplers;
  if (names.empty()) names.assign(kChain.begin(), kChain.end());
  auto impl = std::make_unique<Impl>();
  impl->seed = options.seed == LLAMA_DEFAULT_SEED ? std::random_device{}() : options.seed;
  impl->chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
  const bool greedy = options.temperature <= 0;
  for (const std::string& name : names) {
    HEED_ASSIGN(const std::string stage, canonical(name));
    // The most likely token is in every filtered set, so a greedy choice needs the penalties only.
    if (greedy && stage != "penalties") continue;
    if (llama_sampler* made = make_stage(stage, options, vocab)) {
      llama_sampler_chain_add(impl->chain, made);
    }
  }
  llama_sampler_chain_add(
      impl->chain, greedy ? llama_sampler_init_greedy() : llama_sampler_init_dist(impl->seed));
  impl->candidates.resize(static_cast<size_t>(vocab));
  return std::unique_ptr<Sampler>(new Sampler(std::move(impl)));
}

Token Sampler::sample(std::span<const float> logits) {
  std::vector<llama_token_data>& all = impl_->candidates;
  all.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    all[i] = {static_cast<llama_token>(i), logits[i], 0.0f};
  }
  llama_token_data_array array{all.data(), all.size(), -1, false};
  llama_sampler_apply(impl_->chain, &array);
  // Logits that are all NaN leave nothing selected; the first token keeps the run defined.
  const size_t chosen = array.selected >= 0 && static_cast<size_t>(array.selected) < array.size
                            ? static_cast<size_t>(array.selected)
                            : 0;
  const Token token = array.data[chosen].id;
  llama_sampler_accept(impl_->chain, token);
  return token;
}

void Sampler::accept(Token token) {
  if (token < 0 || static_cast<size_t>(token) >= impl_->candidates.size()) return;
  llama_sampler_accept(impl_->chain, token);
}

uint32_t Sampler::seed() const { return impl_->seed; }

}  // namespace heed
