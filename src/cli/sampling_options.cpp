#include "cli/sampling_options.h"

#include <charconv>
#include <utility>

#include "base/text.h"
#include "cli/parse.h"
#include "cli/prompt.h"
#include "model/sampler.h"

namespace heed::cli {
namespace {

void bind_filters(CLI::App& app, SamplerOptions& o) {
  add(app, "--top-k", o.top_k, "Keep the k most likely; 0 keeps all")->capture_default_str();
  add(app, "--top-p", o.top_p, "Keep the likely ones that sum to p; 1 keeps all")
      ->capture_default_str();
  add(app, "--min-p", o.min_p, "Drop what is less likely than p times the best; 0 is off")
      ->capture_default_str();
  add(app, "--typical,--typical-p", o.typ_p,
      "Keep those of usual surprise that sum to p; 1 keeps all")
      ->capture_default_str();
  add(app, "--top-nsigma,--top-n-sigma", o.top_n_sigma,
      "Keep logits within n standard deviations of the best; -1 is off")
      ->capture_default_str();
  add(app, "--xtc-probability", o.xtc_probability,
      "How often the likely ones are dropped in favour of the last of them; 0 is off")
      ->capture_default_str();
  add(app, "--xtc-threshold", o.xtc_threshold, "Likely is what is above this; above 0.5 is off")
      ->capture_default_str();
}

void bind_penalties(CLI::App& app, SamplingOptions& o) {
  SamplerOptions& v = o.values;
  add(app, "--repeat-penalty", v.repeat_penalty, "Divide repeated logits; 1 is off")
      ->capture_default_str();
  add(app, "--repeat-last-n", v.repeat_last_n, "Tokens that penalties look back; 0 is off")
      ->capture_default_str();
  add(app, "--presence-penalty", v.presence_penalty, "0 is off")->capture_default_str();
  add(app, "--frequency-penalty", v.frequency_penalty, "0 is off")->capture_default_str();
  add(app, "--dry-multiplier", v.dry_multiplier,
      "Penalty of what would continue a repeated sequence; 0 is off")
      ->capture_default_str();
  add(app, "--dry-base", v.dry_base, "It grows by this for every token of the repeated length")
      ->capture_default_str();
  add(app, "--dry-allowed-length", v.dry_allowed_length, "Repeated lengths without penalty")
      ->capture_default_str();
  add(app, "--dry-penalty-last-n", v.dry_penalty_last_n, "Tokens that dry looks back; 0 is off")
      ->capture_default_str();
  add(app, "--dry-sequence-breaker", o.breakers,
      "Text that ends a sequence, in place of \\n : \" *; may be repeated; none: no such text")
      ->allow_extra_args(false);
}

void bind_draws(CLI::App& app, SamplerOptions& o) {
  add(app, "--dynatemp-range", o.dynatemp_range,
      "Temperature from temp - range (sure) to temp + range (unsure); 0 is off")
      ->capture_default_str();
  add(app, "--dynatemp-exp", o.dynatemp_exponent, "How entropy maps to it")->capture_default_str();
  add(app, "--mirostat", o.mirostat, "1, 2: hold the surprise instead of filtering; 0 is off")
      ->capture_default_str();
  add(app, "--mirostat-ent", o.mirostat_tau, "Surprise that mirostat aims at (tau)")
      ->capture_default_str();
  add(app, "--mirostat-lr", o.mirostat_eta, "How fast it corrects (eta)")->capture_default_str();
  add(app, "--adaptive-target", o.adaptive_target,
      "Probability that the sampler adaptive_p aims at; below 0 is off")
      ->capture_default_str();
  add(app, "--adaptive-decay", o.adaptive_decay, "Its memory, 0 to 0.99")->capture_default_str();
}

// Flags and the keys of a file, general.sampling.*, that they overrule.
constexpr std::pair<const char*, const char*> kOverruled[] = {
    {"--temp", "temp"},
    {"--top-k", "top_k"},
    {"--top-p", "top_p"},
    {"--min-p", "min_p"},
    {"--xtc-probability", "xtc_probability"},
    {"--xtc-threshold", "xtc_threshold"},
    {"--repeat-last-n", "penalty_last_n"},
    {"--repeat-penalty", "penalty_repeat"},
    {"--mirostat", "mirostat"},
    {"--mirostat-ent", "mirostat_tau"},
    {"--mirostat-lr", "mirostat_eta"},
    {"--samplers", "sequence"},
    {"--sampler-seq", "sequence"},
};

// "15043-1.5", "15043+inf": a token id and what is added to its logit.
Result<LogitBias> parse_bias(const std::string& text) {
  const size_t sign = text.find_first_of("+-");
  LogitBias bias;
  const char* end = text.data() + text.size();
  bool good = sign != std::string::npos && sign > 0;
  if (good) {
    const char* middle = text.data() + sign;
    const auto id = std::from_chars(text.data(), middle, bias.token);
    const auto value = std::from_chars(middle + 1, end, bias.bias);
    good = id.ec == std::errc() && id.ptr == middle && value.ec == std::errc() && value.ptr == end;
    if (*middle == '-') bias.bias = -bias.bias;
  }
  if (good) return bias;
  return error(Code::kInvalidArgument, "--logit-bias ", text.substr(0, 64),
               " is not TOKEN+BIAS or TOKEN-BIAS, for example 15043-1.5 or 15043-inf");
}

}  // namespace

void SamplingOptions::bind(CLI::App& app) {
  add(app, "-s,--seed", seed, "Seed of sampling; -1: from the clock")
      ->check(CLI::Range(int64_t{-1}, int64_t{UINT32_MAX}))
      ->capture_default_str();
  app_ = &app;
  add(app, "--temp,--temperature", values.temperature,
      "0 takes the most likely token; for what no flag says, a file's own wishes "
      "(general.sampling.*) go before these defaults")
      ->capture_default_str();
  bind_filters(app, values);
  bind_penalties(app, *this);
  bind_draws(app, values);
  add(app, "-l,--logit-bias", biases, "TOKEN+BIAS or TOKEN-BIAS (15043-inf); may be repeated")
      ->allow_extra_args(false);
  add(app, "--samplers", names,
      "Chain in order, separated by ; (default: llama.cpp's, "
      "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature)");
  add(app, "--sampler-seq,--sampling-seq", letters, "The chain by letters (default: edskypmxt)");
  add_flag(app, "--ignore-eos", values.ignore_eos, "Never choose an end token");
  grammar.bind(app);
}

std::vector<std::string> SamplingOptions::own() const {
  std::vector<std::string> keys;
  for (const auto& [flag, key] : kOverruled) {
    if (app_->get_option(flag)->count() > 0) keys.emplace_back(key);
  }
  return keys;
}

Result<SamplerOptions> SamplingOptions::settle(bool escapes) const {
  SamplerOptions out = values;
  out.seed = seed < 0 ? UINT32_MAX : static_cast<uint32_t>(seed);
  if (!names.empty() && !letters.empty()) {
    return Status(Code::kInvalidArgument,
                  "--samplers and --sampler-seq both name the chain; give one");
  }
  out.samplers = samplers_from_names(names);
  if (!letters.empty()) {
    HEED_ASSIGN(out.samplers, samplers_from_letters(letters));
  }
  if (!breakers.empty()) out.dry_sequence_breakers.clear();
  for (const std::string& text : breakers) {
    if (text == "none") {
      out.dry_sequence_breakers.clear();
    } else {
      out.dry_sequence_breakers.push_back(escapes ? unescape(text) : text);
    }
  }
  for (const std::string& text : biases) {
    HEED_ASSIGN(const LogitBias bias, parse_bias(text));
    out.logit_bias.push_back(bias);
  }
  HEED_ASSIGN(out.grammar.gbnf, grammar.settle());
  HEED_TRY(check_sampler(out));
  return out;
}

}  // namespace heed::cli
