// heed run MODEL [PROMPT]: one answer to one prompt, streamed.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/run_compare.h"
#include "cli/run_memory.h"
#include "cli/run_model.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
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
           "  heed run smollm2:135m -f book.txt -p \"Who?\" --session book.session\n"
           "  heed run qwen3-8b.gguf -md qwen3-0.6b.gguf -p \"Explain this step by step.\"\n"
           "  heed run model.gguf -f main.c -p \"Add error handling.\" --lookup\n"
           "  heed run smollm2:135m -f book.txt -p \"Who?\" --compare llama.cpp --expect "
           "\"Anna\"\n"
           "  heed run smollm2:135m \"Is it warm at 30 C?\" --grammar 'root ::= \"yes\" | \"no\"'\n"
           "  heed run smollm2:135m \"Anna is 7.\" -j '{\"type\": \"object\", \"properties\": "
           "{\"age\": {\"type\": \"integer\"}}}'\n"
           "  heed run -m model.gguf \"Will it rain in Ulm?\" --tools tools.json --tool-choice "
           "auto\n"
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
  Status read_turn();
  Status generate_all(SeqId seq, std::span<const Token> prompt, const GenerateOptions& options);
  Status run_peer();
  Status save();
  void stream(std::string_view text);
  void print_others() const;
  void print() const;

  RunOptions o_;
  std::string path_;
  std::shared_ptr<Model> model_;
  ModelOptions load_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Drafter> drafter_;  // computes with the engine's threads
  PromptTokens prompt_;
  ChatPrompt chat_;  // with --tools
  RunResult result_;
};

Status RunVerb::prepare(const std::string& user) {
  HEED_TRY(check_session_place(o_));
  whereabouts().phase = "fetching the model";
  HEED_ASSIGN(RunModel found, find_run_model(o_));
  path_ = std::move(found.path);
  result_.model = std::move(found.info);
  result_.recommended = std::move(found.recommended);
  return check_peak(user);
}

Status RunVerb::check_peak(const std::string& user) {
  MemoryPlan draft;
  HEED_ASSIGN(result_.plan, plan_run(path_, user + o_.tools.text, o_, &draft));
  limit_kv(result_.plan, draft, o_);
  result_.plan.peak += draft.peak;
  return Status::ok();
}

Status RunVerb::load_and_tokenize(const std::string& user) {
  whereabouts().phase = "loading";
  HEED_ASSIGN(load_, load_options(o_));
  const Clock::time_point start = Clock::now();
  HEED_ASSIGN(model_, open_model(path_, load_, o_.progress_mode()));
  result_.load_s = seconds_since(start);
  result_.model = model_->info();
  result_.threads = model_->threads();
  HEED_ASSIGN(result_.adaptation, o_.adapters.load(*model_));
  if (o_.verbose) {
    note(cat(model_title(result_.model), ": ", result_.model.layers, " layers, trained for ",
             result_.model.trained_context, " tokens, products: ", result_.model.linear));
  }
  whereabouts().phase = "tokenising";
  if (o_.tools.given()) {
    HEED_ASSIGN(chat_, o_.tools.prepare(*model_, user, o_.system));
    HEED_ASSIGN(prompt_.tokens, model_->tokenize(chat_.text, true, true));
    prompt_.templated = true;
    o_.sampler.grammar = chat_.grammar;
  } else {
    HEED_ASSIGN(prompt_, tokenize_prompt(*model_, user, o_.system, o_.raw, o_.quiet));
  }
  result_.templated = prompt_.templated;
  const auto count = static_cast<int64_t>(prompt_.tokens.size());
  whereabouts().prompt_total = count;
  HEED_TRY(check_prompt_fits(count, 0, o_.engine.context,
                             longest_context(result_.model, o_.engine.rope)));
  return Status::ok();
}

// On a terminal the model's text may not move the cursor.
void print_text(std::string_view text) {
  const std::string out = is_terminal(STDOUT_FILENO) ? printable(text) : std::string(text);
  std::fwrite(out.data(), 1, out.size(), stdout);
}

void RunVerb::stream(std::string_view text) {
  ++whereabouts().generated;
  if (!o_.json() && !o_.tools.given()) print_text(text);  // a call is no text for people
  std::fflush(stdout);
}

Status RunVerb::answer() {
  HEED_ASSIGN(engine_, Engine::create(model_, o_.engine));
  whereabouts().phase = "reading the session";
  HEED_TRY(result_.session.start(*engine_, prompt_.tokens, o_, result_.adaptation));
  const StartedSequence& started = result_.session.started;
  result_.engine = engine_->options();
  result_.engine.context = o_.engine.context;
  whereabouts().phase = "loading the draft model";
  HEED_ASSIGN(drafter_, o_.draft.open(*engine_, load_, o_.progress_mode()));
  ProgressLine line(o_.progress_mode());
  GenerateOptions options;
  options.draft = o_.draft.limits(drafter_.get());
  options.max_tokens = o_.predict;
  options.sampler = o_.sampler;
  options.ignore_eos = o_.sampler.ignore_eos;
  options.stops = chat_.stops;
  options.cancel = &interrupt_token();
  options.on_prefill = [show = show_prefill(line)](int64_t done, int64_t total) {
    whereabouts().prompt_done = done;
    show(done, total);
  };
  options.on_token = [this, &line](Token, std::string_view text) {
    line.clear();
    whereabouts().phase = "answering";
    stream(text);
  };
  whereabouts().phase = "reading the prompt";
  const auto rest = std::span(prompt_.tokens).subspan(static_cast<size_t>(started.reused));
  HEED_TRY(generate_all(started.seq, rest, options));
  result_.report = engine_->report();
  if (!o_.expect.empty()) {
    result_.correct = result_.generation.text.find(o_.expect) != std::string::npos;
  }
  if (o_.tools.given()) HEED_TRY(read_turn());
  if (!o_.json() && !o_.tools.given() && !result_.generation.tokens.empty()) {
    std::fputc('\n', stdout);
  }
  print_others();
  std::fflush(stdout);
  return Status::ok();
}

// An answer that was cut off is read as far as it goes.
Status RunVerb::read_turn() {
  const Generation& g = result_.generation;
  Result<ChatTurn> turn = parse_answer(chat_, g.text, g.stop == StopReason::kEnd);
  if (!turn.is_ok()) {
    note(cat("the answer is no call and no text that the template knows: ", turn.message()));
    turn = ChatTurn{.role = "assistant", .content = g.text};
  }
  result_.turn = std::move(*turn);
  if (o_.json()) return Status::ok();
  const std::string& said = result_.turn->content;
  if (!said.empty()) {
    const std::string out = is_terminal(STDOUT_FILENO) ? printable(said) : said;
    std::fwrite(out.data(), 1, out.size(), stdout);
    std::fputc('\n', stdout);
  }
  if (!result_.turn->tool_calls.empty()) print_json(calls_json(result_.turn->tool_calls));
  return Status::ok();
}

Status RunVerb::generate_all(SeqId seq, std::span<const Token> prompt,
                             const GenerateOptions& options) {
  if (o_.parallel == 1) {
    HEED_ASSIGN(result_.generation, generate(*engine_, seq, prompt, options));
    return Status::ok();
  }
  if (!o_.json() && !o_.quiet) note(cat("answer 1 of ", o_.parallel));
  HEED_ASSIGN(auto all, generate_several(*engine_, seq, prompt, o_.parallel, options));
  result_.generation = std::move(all.front());
  result_.others.assign(std::make_move_iterator(all.begin() + 1),
                        std::make_move_iterator(all.end()));
  return Status::ok();
}

// They grew beside the first one, which was shown as it came.
void RunVerb::print_others() const {
  for (size_t i = 0; !o_.json() && i < result_.others.size(); ++i) {
    const Generation& other = result_.others[i];
    std::fflush(stdout);
    if (!o_.quiet) note(cat("answer ", i + 2, " of ", o_.parallel, ", seed ", other.seed));
    print_text(other.text);
    std::fputc('\n', stdout);
  }
}

Status RunVerb::save() {
  whereabouts().phase = "saving the session";
  return result_.session.save(*engine_, o_);
}

Status RunVerb::run_peer() {
  if (o_.compare.empty()) return Status::ok();
  whereabouts().phase = "running llama.cpp";
  o_.sampler.seed = result_.generation.seed;
  drafter_.reset();
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
  if (result_.cancelled()) {
    acknowledge_interrupt();
    // What was computed is worth as much as before; a second Ctrl-C ends the program at once.
    const Status saved = save();
    print();
    if (!saved.is_ok()) fail(saved);
    return interrupted();
  }
  const Status saved = save();
  status = run_peer();
  if (!status.is_ok()) return fail_unless_interrupted(status);
  print();
  if (!saved.is_ok()) return fail(saved);
  if (result_.correct.value_or(true)) return kDone;
  note(cat("heed's answer does not contain '", printable(o_.expect), "' (--expect)"));
  return kFailed;
}

}  // namespace

std::unique_ptr<Verb> make_run() { return std::make_unique<RunVerb>(); }

}  // namespace heed::cli
