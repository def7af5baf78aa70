// heed run MODEL [PROMPT]: one answer to one prompt, streamed.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/run_compare.h"
#include "cli/run_memory.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/sampling_report.h"
#include "session/generate.h"

namespace heed::cli {
namespace {

// How far the run is, for the last words of an interrupt: the watching thread reads it.
struct Whereabouts {
  std::atomic<const char*> phase{"starting"};
  std::atomic<int64_t> prompt_done{0}, prompt_total{0}, generated{0};
  const Clock::time_point start = Clock::now();

  std::string words() const {
    return fmt::format("\nheed: interrupted while {}: {} of {} prompt tokens, {} generated, {}\n",
                       phase.load(), prompt_done.load(), prompt_total.load(), generated.load(),
                       seconds_text(seconds_since(start)));
  }
};

// Never destroyed, because the watching thread may read it while main returns.
Whereabouts& whereabouts() {
  static Whereabouts* const all = new Whereabouts();
  return *all;
}

int interrupted() {
  acknowledge_interrupt();
  const std::string words = whereabouts().words();
  std::fwrite(words.data(), 1, words.size(), stderr);
  return interrupt_exit_code();
}

int fail_unless_interrupted(const Status& status) {
  return status.code() == Code::kCancelled ? interrupted() : fail(status);
}

class RunVerb final : public Verb {
 public:
  const char* name() const override { return "run"; }
  const char* summary() const override { return "Answer one prompt; the answer goes to stdout"; }
  const char* examples() const override {
    return "  heed run smollm2:135m \"Why is the sky blue?\"\n"
           "  heed run smollm2:135m -f report.txt -p \"Who signed the contract?\" --temp 0\n"
           "  git diff | heed run qwen2.5-coder:0.5b -p \"Summarise this change.\"\n"
           "  heed run model.gguf -p \"Once upon a time\" --raw -n 64 -o json\n"
           "  heed run smollm2:135m -f book.txt -p \"Who?\" --compare llama.cpp --expect "
           "\"Anna\"\n"
           "  heed run model.gguf -p \"Hello\" --lora style.gguf:0.8 --control-vector-scaled "
           "calm.gguf:0.5\n";
  }
  void options(CLI::App& app) override { o_.bind(app); }
  int run() override;

 private:
  // Path, header and memory: everything that can refuse before the weights are read.
  Status prepare(const std::string& user);
  Status check_peak(const std::string& user);
  Status load_and_tokenize(const std::string& user);
  Status answer();
  Status run_peer();
  void stream(std::string_view text);
  void print() const;

  RunOptions o_;
  std::string path_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  PromptTokens prompt_;
  RunResult result_;
};

Status RunVerb::prepare(const std::string& user) {
  whereabouts().phase = "fetching the model";
  std::vector<std::string> adapters;
  HEED_ASSIGN(path_, model_path(o_.model, o_.offline, o_.progress_mode(), &adapters));
  o_.adapters.add_loras(adapters);
  whereabouts().phase = "reading the model's header";
  HEED_ASSIGN(result_.model, Model::inspect(path_));
  const int64_t trained = result_.model.trained_context;
  const int64_t longest = longest_context(result_.model, o_.engine.rope);
  if (o_.context > longest) {
    return error(Code::kOutOfRange, "-c ", o_.context, ": the model was trained for ", trained,
                 " tokens; use -c ", longest, " or less, or stretch it with --rope-scaling yarn ",
                 "--rope-scale ", (o_.context + trained - 1) / trained);
  }
  if (o_.engine.context == 0) o_.engine.context = trained;
  o_.rope_context = result_.model.rope_context;
  HEED_ASSIGN(result_.recommended, take_recommended(result_.model, o_.sampling.own(), o_.sampler));
  if (!o_.quiet) note_sampling(result_.model, result_.recommended);
  return check_peak(user);
}

Status RunVerb::check_peak(const std::string& user) {
  HEED_ASSIGN(result_.plan, plan_run(path_, user, o_));
  const MemoryPlan& plan = result_.plan;
  // An answer without a limit ends with an error instead of the system's out-of-memory killer.
  const uint64_t fixed = plan.peak - std::min(plan.kv, plan.peak);
  if (plan.available && *plan.available > fixed) o_.engine.max_kv_bytes = *plan.available - fixed;
  return Status::ok();
}

Status RunVerb::load_and_tokenize(const std::string& user) {
  whereabouts().phase = "loading";
  ModelOptions load;
  load.threads = o_.threads;
  HEED_ASSIGN(load.linear, parse_linear(o_.linear));
  const Clock::time_point start = Clock::now();
  HEED_ASSIGN(model_, open_model(path_, load, o_.progress_mode()));
  result_.load_s = seconds_since(start);
  result_.model = model_->info();
  result_.threads = model_->threads();
  HEED_ASSIGN(result_.adaptation, o_.adapters.load(*model_));
  if (o_.verbose) {
    note(cat(model_title(result_.model), ": ", result_.model.layers, " layers, trained for ",
             result_.model.trained_context, " tokens, products: ", result_.model.linear));
  }
  whereabouts().phase = "tokenising";
  HEED_ASSIGN(prompt_, tokenize_prompt(*model_, user, o_.system, o_.raw, o_.quiet));
  result_.templated = prompt_.templated;
  const auto count = static_cast<int64_t>(prompt_.tokens.size());
  whereabouts().prompt_total = count;
  HEED_TRY(check_prompt_fits(count, 0, o_.engine.context,
                             longest_context(result_.model, o_.engine.rope)));
  return Status::ok();
}

void RunVerb::stream(std::string_view text) {
  ++whereabouts().generated;
  if (o_.json()) return;
  // On a terminal the model's text may not move the cursor.
  const std::string out = is_terminal(STDOUT_FILENO) ? printable(text) : std::string(text);
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

Status RunVerb::answer() {
  HEED_ASSIGN(engine_, Engine::create(model_, o_.engine));
  HEED_ASSIGN(const SeqId seq, engine_->create_sequence());
  HEED_TRY(set_adaptation(*engine_, seq, result_.adaptation));
  result_.engine = engine_->options();
  result_.engine.context = o_.engine.context;
  ProgressLine line(o_.progress_mode());
  GenerateOptions options;
  options.max_tokens = o_.predict;
  options.sampler = o_.sampler;
  options.ignore_eos = o_.sampler.ignore_eos;
  options.cancel = &interrupt_token();
  const Clock::time_point start = Clock::now();
  options.on_prefill = [&line, start](int64_t done, int64_t total) {
    whereabouts().prompt_done = done;
    const double rate = static_cast<double>(done) / std::max(seconds_since(start), 1e-9);
    // Later tokens read more keys, so this estimate is a little low for long prompts.
    const double left = static_cast<double>(total - done) / std::max(rate, 1e-9);
    line.show(fmt::format("prompt {} of {} tokens ({:.0f} %), {:.0f} tokens/s, {} left", done,
                          total, 100.0 * static_cast<double>(done) / static_cast<double>(total),
                          rate, seconds_text(left)));
  };
  options.on_token = [this, &line](Token, std::string_view text) {
    line.clear();
    whereabouts().phase = "answering";
    stream(text);
  };
  whereabouts().phase = "reading the prompt";
  HEED_ASSIGN(result_.generation, generate(*engine_, seq, prompt_.tokens, options));
  result_.report = engine_->report();
  if (!o_.expect.empty()) {
    result_.correct = result_.generation.text.find(o_.expect) != std::string::npos;
  }
  if (!o_.json() && !result_.generation.tokens.empty()) std::fputc('\n', stdout);
  std::fflush(stdout);
  return Status::ok();
}

Status RunVerb::run_peer() {
  if (o_.compare.empty()) return Status::ok();
  whereabouts().phase = "running llama.cpp";
  o_.sampler.seed = result_.generation.seed;
  engine_.reset();  // its threads and pages would stand in llama.cpp's way
  HEED_ASSIGN(result_.peer, run_llama(*model_, prompt_.tokens, o_, result_.adaptation.get(),
                                      result_.threads, o_.progress_mode()));
  return Status::ok();
}

void RunVerb::print() const {
  if (o_.json()) {
    print_json(to_json(result_));
    return;
  }
  if (!o_.quiet) print_timings(result_);
  if (result_.peer) print_comparison(*result_.peer, result_.run());
}

int RunVerb::run() {
  if (const Status s = o_.settle(); !s.is_ok()) return usage_error(name(), s.message());
  watch_interrupts();
  set_last_words([] { return whereabouts().words(); });
  whereabouts().phase = "reading the prompt's text";
  const Result<std::string> user = read_prompt(o_.prompt, o_.quiet);
  if (!user.is_ok()) {
    const bool usage = user.code() == Code::kInvalidArgument;
    return usage ? usage_error(name(), user.message()) : fail(user.status());
  }
  Status status = prepare(*user);
  if (status.is_ok()) status = load_and_tokenize(*user);
  if (status.is_ok()) status = answer();
  if (!status.is_ok()) return fail_unless_interrupted(status);
  if (result_.generation.stop == StopReason::kCancelled) {
    acknowledge_interrupt();
    print();
    return interrupted();
  }
  status = run_peer();
  if (!status.is_ok()) return fail_unless_interrupted(status);
  print();
  if (result_.correct.value_or(true)) return kDone;
  note(cat("heed's answer does not contain '", printable(o_.expect), "' (--expect)"));
  return kFailed;
}

}  // namespace

std::unique_ptr<Verb> make_run() { return std::make_unique<RunVerb>(); }

}  // namespace heed::cli
