// Names and ranges of sampler options.
#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <cmath>

#include "base/nearest.h"
#include "base/text.h"
#include "model/sampler.h"

namespace heed {
namespace {

struct Stage {
  const char* name;
  char letter;      // in --sampler-seq
  bool by_default;  // part of llama.cpp's default chain, which has this order
};
constexpr Stage kStages[] = {
    {"penalties", 'e', true}, {"dry", 'd', true},         {"top_n_sigma", 's', true},
    {"top_k", 'k', true},     {"typ_p", 'y', true},       {"top_p", 'p', true},
    {"min_p", 'm', true},     {"xtc", 'x', true},         {"temperature", 't', true},
    {"infill", 'i', false},   {"adaptive_p", 'a', false},
};
// Further spellings that llama.cpp takes, behind "top-k" and "topk" for "top_k".
constexpr std::pair<const char*, const char*> kAliases[] = {
    {"nucleus", "top_p"}, {"typ", "typ_p"}, {"typical", "typ_p"}, {"temp", "temperature"}};

constexpr size_t kMostStages = 64;
constexpr int kMostRemembered = 1 << 24;
constexpr size_t kMostBreakers = 64;

std::vector<std::string_view> stage_names() {
  std::vector<std::string_view> names;
  for (const Stage& stage : kStages) names.emplace_back(stage.name);
  return names;
}

std::string without(std::string_view text, std::string_view dropped) {
  std::string out;
  for (const char c : text) {
    if (dropped.find(c) == std::string_view::npos) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

Result<std::string> canonical(const std::string& name) {
  const std::string plain = without(name, "_-");
  for (const Stage& stage : kStages) {
    if (plain == without(stage.name, "_-")) return std::string(stage.name);
  }
  for (const auto& [alias, target] : kAliases) {
    if (plain == alias) return std::string(target);
  }
  const std::vector<std::string_view> names = stage_names();
  const std::string near = nearest_name(name, names);
  std::string all;
  for (const std::string_view known : names) all += cat(all.empty() ? "" : ", ", known);
  return error(Code::kInvalidArgument, "unknown sampler '", name.substr(0, 64), "'",
               near.empty() ? "." : "; did you mean '" + near + "'?", " Known are ", all);
}

Status check_number(const char* name, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return Status::ok();
  return error(Code::kOutOfRange, name, " is ", value, "; it must be from ", low, " to ", high);
}

// Smaller bases would make penalties shrink with the length of what repeats; llama.cpp then turns
// the whole stage off without a word.
Status check_dry(const SamplerOptions& o) {
  HEED_TRY(check_number("dry-multiplier", o.dry_multiplier, 0, 1e3));
  HEED_TRY(check_number("dry-base", o.dry_base, 1, 1e3));
  HEED_TRY(check_number("dry-allowed-length", o.dry_allowed_length, 0, kMostRemembered));
  HEED_TRY(check_number("dry-penalty-last-n", o.dry_penalty_last_n, 0, kMostRemembered));
  if (o.dry_sequence_breakers.size() > kMostBreakers) {
    return error(Code::kOutOfRange, o.dry_sequence_breakers.size(),
                 " dry-sequence-breakers; at most ", kMostBreakers, " are read");
  }
  for (const std::string& text : o.dry_sequence_breakers) {
    if (!text.empty() && text.size() <= 40 && text.find('\0') == std::string::npos) continue;
    return error(Code::kOutOfRange, "a dry-sequence-breaker of ", text.size(),
                 " bytes; it must have 1 to 40, none of them zero");
  }
  return Status::ok();
}

Status check_mirostat(const SamplerOptions& o) {
  if (o.mirostat < 0 || o.mirostat > 2) {
    return error(Code::kOutOfRange, "mirostat is ", o.mirostat, "; it must be 0 (off), 1 or 2");
  }
  HEED_TRY(check_number("mirostat-ent", o.mirostat_tau, 0, 1e3));
  HEED_TRY(check_number("mirostat-lr", o.mirostat_eta, 0, 1e3));
  if (o.mirostat != 0 && !o.samplers.empty()) {
    return error(Code::kInvalidArgument, "mirostat ", o.mirostat,
                 " takes the place of the whole chain; leave out samplers or mirostat");
  }
  return Status::ok();
}

Status check_biases(const SamplerOptions& o) {
  for (const LogitBias& b : o.logit_bias) {
    if (b.token < 0) return error(Code::kOutOfRange, "logit-bias for token ", b.token);
    if (std::isnan(b.bias) || b.bias > 1e6f) {
      return error(Code::kOutOfRange, "logit-bias ", b.bias, " for token ", b.token,
                   "; it must be at most 1e6 (-inf forbids the token)");
    }
  }
  return Status::ok();
}

}  // namespace

Status check_sampler(const SamplerOptions& o) {
  HEED_TRY(check_number("temperature", o.temperature, -1e6, 1e6));
  if (o.temperature > 0 && o.temperature < 1e-6f) {  // logits divided by it would overflow
    return error(Code::kOutOfRange, "temperature is ", o.temperature,
                 "; it must be 1e-6 or more, or 0 to take the most likely token");
  }
  HEED_TRY(check_number("dynatemp-range", o.dynatemp_range, 0, 1e6));
  HEED_TRY(check_number("dynatemp-exp", o.dynatemp_exponent, 0, 1e3));
  HEED_TRY(check_number("top-p", o.top_p, 0, 1));
  HEED_TRY(check_number("min-p", o.min_p, 0, 1));
  HEED_TRY(check_number("typical", o.typ_p, 0, 1));
  HEED_TRY(check_number("top-nsigma", o.top_n_sigma, -1e3, 1e3));
  HEED_TRY(check_number("xtc-probability", o.xtc_probability, 0, 1));
  HEED_TRY(check_number("xtc-threshold", o.xtc_threshold, 0, 1));
  HEED_TRY(check_number("min-keep", o.min_keep, 0, INT_MAX));
  HEED_TRY(check_number("presence-penalty", o.presence_penalty, -100, 100));
  HEED_TRY(check_number("frequency-penalty", o.frequency_penalty, -100, 100));
  HEED_TRY(check_number("repeat-penalty", o.repeat_penalty, 1e-3, 1e3));
  HEED_TRY(check_number("repeat-last-n", o.repeat_last_n, 0, kMostRemembered));
  HEED_TRY(check_number("adaptive-target", o.adaptive_target, -1, 1));
  HEED_TRY(check_number("adaptive-decay", o.adaptive_decay, 0, 0.99f));
  HEED_TRY(check_dry(o));
  HEED_TRY(check_mirostat(o));
  HEED_TRY(check_biases(o));
  return sampler_chain(o).status();
}

Result<std::vector<std::string>> sampler_chain(const SamplerOptions& o) {
  std::vector<std::string> chain;
  if (o.samplers.empty()) {
    for (const Stage& stage : kStages) {
      if (stage.by_default) chain.emplace_back(stage.name);
    }
    return chain;
  }
  if (o.samplers.size() > kMostStages) {
    return error(Code::kOutOfRange, "a chain of ", o.samplers.size(), " samplers; at most ",
                 kMostStages, " are run");
  }
  for (const std::string& name : o.samplers) {
    HEED_ASSIGN(std::string stage, canonical(name));
    chain.push_back(std::move(stage));
  }
  return chain;
}

std::vector<std::string> samplers_from_names(const std::string& names) {
  std::vector<std::string> parts(1);
  for (const char c : names) {
    if (c == ';' || c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  std::erase(parts, "");
  return parts;
}

Result<std::vector<std::string>> samplers_from_letters(const std::string& letters) {
  std::vector<std::string> chain;
  for (const char letter : letters) {
    const auto* at = std::find_if(std::begin(kStages), std::end(kStages),
                                  [&](const Stage& s) { return s.letter == letter; });
    if (at == std::end(kStages)) {
      std::string known;
      for (const Stage& s : kStages) known += cat(known.empty() ? "" : ", ", s.letter, " ", s.name);
      return error(Code::kInvalidArgument, "unknown sampler letter '", letter, "'. Known are ",
                   known);
    }
    chain.emplace_back(at->name);
  }
  return chain;
}

}  // namespace heed
