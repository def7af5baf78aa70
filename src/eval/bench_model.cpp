#include "eval/bench_model.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/text.h"
#include "eval/attention_share.h"
#include "eval/baseline_choice.h"
#include "eval/bench_memory.h"
#include "eval/machine.h"
#include "eval/peer_isa.h"
#include "eval/reference_kl.h"
#include "eval/statistics.h"
#include "heed/embed.h"

namespace heed::eval {
namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 24;  // of one test

// What one test is compared with, and what it says beside the times.
struct Peer {
  LlamaOptions options;
  std::optional<LlamaShare> share;
  std::optional<double> kl;
};

class BenchRun {
 public:
  explicit BenchRun(const BenchOptions& options)
      : options_(options), llamas_(options.model, options.cancel) {}

  Result<BenchReport> run();

 private:
  void say(const std::string& line) const {
    if (options_.say) options_.say(line);
  }
  Status open_heed(int64_t end);
  Status choose_peers();
  Status measure_kl();
  Status run_tests(const std::vector<BenchTest>& tests);
  Status open_llama(const BenchTest& test, int64_t context);
  void add_rows(const BenchTest& test, const std::vector<EngineRounds>& rounds);

  const BenchOptions& options_;
  ModelInfo info_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adaptation> adaptation_;
  LlamaModels llamas_;
  std::vector<std::unique_ptr<BenchEngine>> engines_;  // heed, then llama.cpp if compared
  std::vector<Token> tokens_;
  Peer prompt_peer_, generation_peer_;
  std::optional<double> heed_kl_;
  BenchReport report_;
};

Status BenchRun::open_heed(int64_t end) {
  ModelOptions load;
  load.threads = options_.threads;
  load.linear = options_.linear;
  load.cancel = options_.cancel;
  HEED_ASSIGN(model_, Model::load(options_.model, load));
  EngineOptions engine = options_.engine;
  engine.context = end;
  engine.beyond_context = options_.beyond_context;
  engine.max_sequences = 1;
  engines_.clear();
  HEED_ASSIGN(adaptation_, options_.adapters.load(*model_));
  HEED_ASSIGN(engines_.emplace_back(),
              make_heed_bench_engine(model_, engine, options_.cancel, adaptation_));
  tokens_ = bench_tokens(info_.vocab, end);
  return Status::ok();
}

Status BenchRun::choose_peers() {
  LlamaOptions common;
  common.threads = model_->threads();
  common.cancel = options_.cancel;
  HEED_TRY(
      adapt_peer(options_.adapters, adaptation_.get(), *model_, "leave out --compare", common));
  const std::span<const Token> tokens = tokens_;
  if (options_.baseline) {
    prompt_peer_.options = configured(*options_.baseline, common);
    generation_peer_.options = prompt_peer_.options;
  } else {
    say("choosing the fastest llama.cpp");
    const std::vector<Token> quick = bench_tokens(info_.vocab, kQuickTokens);
    HEED_ASSIGN(const BaselineChoice best, choose_baseline(llamas_, common, quick, options_.say));
    prompt_peer_.options = best.prefill;
    generation_peer_.options = best.decode;
  }
  for (Peer* peer : {&prompt_peer_, &generation_peer_}) {
    const bool same =
        peer == &generation_peer_ && describe(peer->options) == describe(prompt_peer_.options);
    if (same) {
      peer->share = prompt_peer_.share;
      continue;
    }
    say(cat("profiling llama.cpp with ", describe(peer->options)));
    HEED_ASSIGN(auto model, llamas_.get(peer->options.repack));
    HEED_ASSIGN(peer->share, profile_llama(std::move(model), peer->options, tokens));
  }
  return Status::ok();
}

Status BenchRun::measure_kl() {
  ReferenceKlJob job;
  job.path = options_.model;
  job.threads = model_->threads();
  job.heed = options_.engine;
  job.linear = options_.linear;
  job.loras = options_.adapters.lora_paths();
  job.adaptation = adaptation_;
  job.refresh = options_.refresh_kl;
  job.cancel = options_.cancel;
  job.say = options_.say;
  if (options_.compare_llama) job.llama = prompt_peer_.options;
  HEED_ASSIGN(ReferenceKl kl, reference_kl(job));
  heed_kl_ = kl.heed;
  prompt_peer_.kl = generation_peer_.kl = kl.llama;
  if (!kl.why_not.empty()) say(cat("no KL to a reference: ", kl.why_not));
  if (!options_.compare_llama ||
      describe(prompt_peer_.options) == describe(generation_peer_.options)) {
    return Status::ok();
  }
  job.heed.reset();
  job.llama = generation_peer_.options;
  HEED_ASSIGN(kl, reference_kl(job));
  generation_peer_.kl = kl.llama;
  return Status::ok();
}

Status BenchRun::open_llama(const BenchTest& test, int64_t context) {
  engines_.resize(1);  // the old context goes before the new one is made
  if (!options_.compare_llama) return Status::ok();
  LlamaOptions llama = (test.generate ? generation_peer_ : prompt_peer_).options;
  llama.context = context;
  HEED_ASSIGN(auto model, llamas_.get(llama.repack));
  HEED_ASSIGN(engines_.emplace_back(), make_llama_bench_engine(std::move(model), llama));
  return Status::ok();
}

// A prompt test gets a context of its own size, as in llama-bench. Generation tests come in order
// of depth and share one, so that a depth is filled from the one before.
Status BenchRun::run_tests(const std::vector<BenchTest>& tests) {
  int64_t held = 0;
  bool generating = false;
  for (const BenchTest& test : tests) {
    if (!test.generate || !generating) {
      HEED_TRY(open_llama(test, test.generate ? last_position(tests) : test.end()));
      HEED_TRY(engines_[0]->clear());
      held = 0;
    }
    generating = test.generate;
    const int rounds = options_.rounds > 0 ? options_.rounds : default_rounds(test);
    HEED_ASSIGN(const auto result, run_rounds(test, engines_, tokens_, held, rounds, options_.say));
    held = test.depth;
    add_rows(test, result);
    HEED_TRY(measure_roofs(report_.machine));
    if (options_.on_rows) options_.on_rows(report_);
  }
  return Status::ok();
}

void BenchRun::add_rows(const BenchTest& test, const std::vector<EngineRounds>& rounds) {
  const Peer& peer = test.generate ? generation_peer_ : prompt_peer_;
  for (size_t e = 0; e < rounds.size(); ++e) {
    const EngineRounds& times = rounds[e];
    BenchRow row;
    row.model = options_.model_label.empty() ? options_.model : options_.model_label;
    row.engine = engines_[e]->name();
    row.config = engines_[e]->config();
    row.test = test.name();
    row.depth = test.depth;
    row.n = test.n;
    row.repeats = static_cast<int>(times.seconds.size());
    row.median_s = median(times.seconds);
    row.p10_s = quantile(times.seconds, 0.1);
    row.p90_s = quantile(times.seconds, 0.9);
    row.tokens_per_s = static_cast<double>(test.n) / row.median_s;
    row.kv_bytes = times.kv_bytes;
    row.beyond_context = test.end() > info_.trained_context;
    row.kl_vs_ref = e == 0 ? heed_kl_ : peer.kl;
    if (!times.attention_s.empty()) row.attention_s = median(times.attention_s);
    if (e == 0 && rounds.size() > 1) {
      const auto ratios = paired_ratios(times.seconds, rounds[1].seconds);
      row.ratio = median(ratios);
      row.ratio_p10 = quantile(ratios, 0.1);
      if (peer.share && !times.attention_s.empty()) {
        row.attention_share = peer.share->share(test);
        row.predicted_ratio = peer.share->predicted_ratio(test, median(times.attention_s));
      }
    }
    report_.rows.push_back(std::move(row));
  }
}

Result<BenchReport> BenchRun::run() {
  if (options_.compare_llama) HEED_TRY(check_peer_isa());
  HEED_ASSIGN(info_, Model::inspect(options_.model));
  HEED_TRY(check_decoder(info_));
  HEED_ASSIGN(const auto tests, list_tests(options_, info_.trained_context));
  const int64_t end = last_position(tests);
  HEED_TRY(check_bench_memory(options_, tests));
  HEED_TRY(open_heed(end));
  HEED_ASSIGN(report_.machine, describe_machine(model_->threads()));
  HEED_TRY(measure_roofs(report_.machine));
  engines_[0]->park();
  if (options_.compare_llama) {
    HEED_TRY(choose_peers());
    const std::array peers{prompt_peer_.options, generation_peer_.options};
    HEED_TRY(check_test_memory(options_, tests, peers));
  }
  HEED_TRY(measure_kl());
  HEED_TRY(run_tests(tests));
  return std::move(report_);
}

}  // namespace

Status check_options(const BenchOptions& options) {
  const auto all = {&options.prompts, &options.generate, &options.depths};
  for (const auto* list : all) {
    const int64_t least = list == &options.depths ? 0 : 1;
    for (const int64_t n : *list) {
      if (n >= least && n <= kMaxTokens) continue;
      return error(Code::kOutOfRange, "a test of ", n, " tokens: ", least, " to ", kMaxTokens);
    }
  }
  if (options.rounds < 0) {
    return error(Code::kOutOfRange, options.rounds, " rounds: at least 1, or 0 for the default");
  }
  const bool generates = !options.generate.empty() && !options.depths.empty();
  if (options.prompts.empty() && !generates) {
    return error(Code::kInvalidArgument, "no test: give -p, or -n with -d");
  }
  return Status::ok();
}

Result<std::vector<BenchTest>> list_tests(const BenchOptions& options, int64_t trained_context) {
  HEED_TRY(check_options(options));
  std::vector<int64_t> depths = options.depths;
  std::sort(depths.begin(), depths.end());
  depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
  std::vector<BenchTest> tests;
  const std::vector<int64_t> start{0};
  for (const int64_t depth : options.cross ? depths : start) {
    for (const int64_t n : options.prompts) tests.push_back({false, n, depth});
  }
  for (const int64_t depth : depths) {
    for (const int64_t n : options.generate) tests.push_back({true, n, depth});
  }
  for (const BenchTest& test : tests) {
    if (options.beyond_context || test.end() <= trained_context) continue;
    return error(Code::kOutOfRange, test.name(), " at depth ", test.depth, " reaches ", test.end(),
                 " positions and the model was trained for ", trained_context,
                 ": --beyond-context runs past that for speed only and marks the row");
  }
  return tests;
}

Result<BenchReport> bench_model(const BenchOptions& options) { return BenchRun(options).run(); }

}  // namespace heed::eval
