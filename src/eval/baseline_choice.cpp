#include "eval/baseline_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>
#include <vector>

#include "base/clock.h"
#include "base/text.h"

namespace heed::eval {
namespace {

constexpr int kDecodeTokens = 16;
constexpr size_t kWarmTokens = 64;
constexpr double kNearTie = 1.1, kDisturbed = 1.5;  // times the fastest: worth a second trial

struct Seconds {
  double prefill = 0, decode = 0;
};

// One prompt and a few tokens behind it; what a prompt leaves held is the depth of the decode.
Result<Seconds> try_once(std::shared_ptr<LlamaModel> model, LlamaOptions options,
                         std::span<const Token> tokens) {
  options.context = static_cast<int64_t>(tokens.size()) + kDecodeTokens + 1;
  HEED_ASSIGN(auto llama, LlamaBaseline::create(std::move(model), options));
  HEED_TRY(llama->prefill(tokens.subspan(0, std::min(kWarmTokens, tokens.size()))));
  llama->clear();
  Seconds seconds;
  auto start = Clock::now();
  HEED_TRY(llama->prefill(tokens));
  seconds.prefill = seconds_since(start);
  HEED_TRY(llama->decode(tokens[0]));
  start = Clock::now();
  for (int i = 0; i < kDecodeTokens; ++i) HEED_TRY(llama->decode(tokens[0]));
  seconds.decode = seconds_since(start) / kDecodeTokens;
  return seconds;
}

struct Trial {
  LlamaOptions options;
  Seconds least{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
};

Status run_trial(LlamaModels& models, std::span<const Token> tokens,
                 const std::function<void(const std::string&)>& say, Trial& trial) {
  HEED_ASSIGN(const auto model, models.get(trial.options.repack));
  HEED_ASSIGN(const Seconds seconds, try_once(model, trial.options, tokens));
  trial.least.prefill = std::min(trial.least.prefill, seconds.prefill);
  trial.least.decode = std::min(trial.least.decode, seconds.decode);
  if (say) {
    say(fmt::format("llama.cpp with {}: {:.1f} tokens/s prompt, {:.1f} generated",
                    describe(trial.options), static_cast<double>(tokens.size()) / seconds.prefill,
                    1.0 / seconds.decode));
  }
  return Status::ok();
}

const Trial& fastest(const std::vector<Trial>& trials, double Seconds::*phase) {
  return *std::min_element(trials.begin(), trials.end(), [&](const Trial& a, const Trial& b) {
    return a.least.*phase < b.least.*phase;
  });
}

}  // namespace

Result<std::shared_ptr<LlamaModel>> LlamaModels::get(bool repack) {
  auto& model = models_[repack ? 1 : 0];
  if (model == nullptr) {
    HEED_ASSIGN(model, LlamaModel::load(path_, {.repack = repack, .cancel = cancel_}));
  }
  return model;
}

std::vector<LlamaOptions> baseline_trials(int64_t tokens, int threads) {
  std::vector<LlamaOptions> trials;
  for (const bool repack : {true, false}) {
    for (const bool flash : {true, false}) {
      for (const int ubatch : {512, 2048}) {
        // A prompt of one graph is the same work under the larger limit.
        if (ubatch > 512 && tokens <= 512) continue;
        LlamaOptions options;
        options.flash = flash;
        options.repack = repack;
        options.ubatch = ubatch;
        options.threads = threads;
        trials.push_back(options);
      }
    }
  }
  return trials;
}

LlamaOptions configured(const LlamaOptions& one, const LlamaOptions& common) {
  LlamaOptions out = common;
  out.flash = one.flash;
  out.repack = one.repack;
  out.ubatch = one.ubatch;
  return out;
}

Result<BaselineChoice> choose_baseline(LlamaModels& models, const LlamaOptions& common,
                                       std::span<const Token> tokens,
                                       const std::function<void(const std::string&)>& say) {
  std::vector<Trial> trials;
  for (const LlamaOptions& options :
       baseline_trials(static_cast<int64_t>(tokens.size()), common.threads)) {
    Trial trial;
    trial.options = configured(options, common);
    HEED_TRY(run_trial(models, tokens, say, trial));
    trials.push_back(std::move(trial));
  }
  // Second chances in either phase: near ties are told apart, and a trial that something disturbed
  // is not lost.
  const Seconds least{fastest(trials, &Seconds::prefill).least.prefill,
                      fastest(trials, &Seconds::decode).least.decode};
  const auto open = [](double ratio) { return ratio <= kNearTie || ratio >= kDisturbed; };
  for (Trial& trial : trials) {
    if (!open(trial.least.prefill / least.prefill) && !open(trial.least.decode / least.decode)) {
      continue;
    }
    HEED_TRY(run_trial(models, tokens, say, trial));
  }
  const BaselineChoice best{fastest(trials, &Seconds::prefill).options,
                            fastest(trials, &Seconds::decode).options};
  for (const bool repack : {true, false}) {
    if (best.prefill.repack != repack && best.decode.repack != repack) models.drop(repack);
  }
  return best;
}

Result<LlamaOptions> parse_baseline(const std::string& text) {
  LlamaOptions options;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    const bool is_switch = value == "on" || value == "off";
    int number = 0;
    const auto end = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool is_number = end.ec == std::errc() && end.ptr == value.data() + value.size();
    if (key == "flash" && is_switch) {
      options.flash = value == "on";
    } else if (key == "repack" && is_switch) {
      options.repack = value == "on";
    } else if (key == "ubatch" && is_number && number >= 1 && number <= options.batch) {
      options.ubatch = number;
    } else {
      return error(Code::kInvalidArgument, "baseline part '", part,
                   "': flash=on|off, repack=on|off or ubatch=N with N from 1 to ", options.batch);
    }
  }
  return options;
}

}  // namespace heed::eval
