// heed bench: rates of a model beside llama.cpp's, or of the attention kernels or the matrix
// products beside ggml's.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <climits>
#include <memory>
#include <string_view>

#include "base/text.h"
#include "cli/adapter_options.h"
#include "cli/interrupt.h"
#include "cli/list_options.h"
#include "cli/model_source.h"
#include "cli/page_formats.h"
#include "cli/parse.h"
#include "cli/prefill_order.h"
#include "cli/terminal.h"
#include "eval/baseline_choice.h"
#include "eval/bench_kernels.h"
#include "eval/bench_linears.h"
#include "eval/bench_model.h"

namespace heed::cli {
namespace {

const std::vector<std::string> kForms{"md", "json", "jsonl", "csv"};

// The report of the tests that are done. The watching thread prints it when a test does not stop in
// time, so it is never destroyed and is swapped whole.
std::atomic<std::shared_ptr<const std::string>>& so_far_text() {
  static auto* const text = new std::atomic<std::shared_ptr<const std::string>>();
  return *text;
}

// Prints it, at most for the rest of the 250 ms: a reader that does not read keeps nobody. Returns
// what to say about it.
std::string print_so_far() {
  const auto text = so_far_text().exchange(nullptr);
  if (text == nullptr) return "interrupted; no row was measured";
  constexpr int kWaitMilliseconds = 50;
  std::string_view rest = *text;
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  while (!rest.empty() && poll(&out, 1, kWaitMilliseconds) == 1 && (out.revents & POLLOUT) != 0) {
    // A pipe that polls as writable takes this much without blocking.
    const ssize_t n = write(STDOUT_FILENO, rest.data(), std::min<size_t>(rest.size(), PIPE_BUF));
    if (n <= 0) break;
    rest.remove_prefix(static_cast<size_t>(n));
  }
  return rest.empty() ? "interrupted; the rows above are those that were measured"
                      : "interrupted; nobody read the rows that were measured";
}

// In the order of all_weight_types().
std::vector<std::string> type_words() {
  std::vector<std::string> words;
  for (const WeightType type : eval::all_weight_types()) {
    std::string word = weight_type_name(type);
    for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    words.push_back(std::move(word));
  }
  return words;
}

class BenchVerb final : public Verb {
 public:
  const char* name() const override { return "bench"; }
  const char* summary() const override {
    return "Measure speed: a model beside llama.cpp, or `bench kernels|linears` beside ggml";
  }
  const char* examples() const override {
    return "  heed bench -m smollm2:135m -p 512,4096,16384 -n 32 -d 0,4096,16384 \\\n"
           "      --beyond-context --compare llama.cpp -o json\n"
           "  heed bench kernels --head-sizes 64,128 --lengths 512,4096\n"
           "  heed bench linears --types q4_k,q6_k --sizes 2048x8192 --rows 1,512\n";
  }
  void options(CLI::App& app) override;
  int run() override;

 private:
  void kernel_options(CLI::App& app);
  void linear_options(CLI::App& app);
  // Names to values, and what is wrong with them whatever the machine and the model.
  Status settle();
  Status settle_model();
  Status settle_kernels();
  Status settle_linears();
  // Keeps (and in jsonl prints) what is measured so far.
  template <class Report>
  void take(const Report& so_far);
  template <class Report>
  std::string rest_of(const Report& report) const;
  Result<std::string> measure();

  eval::BenchOptions o_;
  eval::KernelBenchOptions kernels_;
  eval::LinearBenchOptions linears_;
  std::string prefill_order_ = "auto";
  std::string what_, model_, compare_, baseline_, linear_ = "heed", output_ = "md";
  PageFormats pages_;
  AdapterOptions adapters_;
  std::vector<std::string> formats_, phases_, types_;
  eval::BenchForm form_ = eval::BenchForm::kMarkdown;
  size_t printed_ = 0;  // rows; jsonl only
  bool offline_ = false, quiet_ = false;
};

void BenchVerb::options(CLI::App& app) {
  app.add_option("WHAT", what_, "kernels: the attention kernels alone; linears: the products alone")
      ->check(one_of({"kernels", "linears"}));
  add_model(app, model_);
  add_numbers(app, "-p,--n-prompt", o_.prompts, "Prompt lengths; 0: no prompt tests");
  add_numbers(app, "-n,--n-gen", o_.generate, "Generated tokens; 0: no generation tests");
  add_numbers(app, "-d,--n-depth", o_.depths, "Tokens held before a generation test");
  add_flag(app, "--cross", o_.cross,
           "Prompt tests at every depth too, as llama-bench; linears: every size at every --rows");
  add_flag(app, "--beyond-context", o_.beyond_context,
           "Run past the trained context, for speed only; such rows are marked");
  add(app, "--compare", compare_, "A peer, in alternating rounds")->check(one_of({"llama.cpp"}));
  add(app, "--baseline", baseline_,
      "llama.cpp as flash=on|off,repack=on|off,ubatch=N; default: the fastest of a quick run");
  add(app, "-r,--repeat", o_.rounds, "Rounds a test; 0: by its length")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  add_threads(app, o_.threads);
  pages_.bind(app);
  adapters_.bind(app);
  add_linear(app, linear_);
  add_prefill_order(app, prefill_order_);
  add_flag(app, "--refresh-kl", o_.refresh_kl,
           "Measure kl_vs_ref again even where it is kept; it is taken over a prompt, for "
           "generation rows too");
  kernel_options(app);
  linear_options(app);
  add(app, "-o,--output", output_, "Form of the result")
      ->check(one_of(kForms))
      ->capture_default_str();
  add_flag(app, "--offline", offline_, "Use only what is on this machine");
  add_flag(app, "-q,--quiet", quiet_, "No progress on stderr");
}

void BenchVerb::kernel_options(CLI::App& app) {
  add_numbers(app, "--head-sizes", kernels_.head_sizes, "kernels: head sizes");
  add_numbers(app, "--groups", kernels_.groups, "kernels: query heads a KV head");
  add_numbers(app, "--lengths", kernels_.lengths, "kernels: keys");
  add_words(app, "--formats", formats_, {"f32", "f16", "bf16"},
            "kernels: storage formats; default: all");
  add_words(app, "--phases", phases_, {"prefill", "decode"},
            "kernels: prefill, decode; default: both");
}

void BenchVerb::linear_options(CLI::App& app) {
  add_words(app, "--types", types_, type_words(), "linears: types of weights; default: all");
  const auto take = [this](const std::string& list) {
    linears_.sizes.clear();
    for (const std::string& entry : entries("--sizes", list)) {
      const size_t by = entry.find('x');
      if (by == std::string::npos) {
        throw CLI::ValidationError("--sizes", cat("'", entry, "' is not INPUTSxOUTPUTS"));
      }
      linears_.sizes.push_back({number<int64_t>("--sizes", entry.substr(0, by)),
                                number<int64_t>("--sizes", entry.substr(by + 1))});
    }
  };
  app.add_option_function<std::string>("--sizes", take, "linears: weights as INPUTSxOUTPUTS")
      ->envname(environment_name("--sizes"))
      ->type_name("INxOUT,...")
      ->default_str("576x1536,896x4864,2048x8192,4096x14336");
  add_numbers(app, "--rows", linears_.rows, "linears: rows of x; up to 16 read fresh memory");
}

Status BenchVerb::settle_model() {
  std::erase(o_.prompts, 0);
  std::erase(o_.generate, 0);
  o_.model_label = model_;
  o_.compare_llama = !compare_.empty();
  if (!baseline_.empty()) {
    HEED_ASSIGN(o_.baseline, eval::parse_baseline(baseline_));
  }
  HEED_ASSIGN(o_.linear, parse_linear(linear_));
  HEED_ASSIGN(o_.engine.prefill_order, parse_prefill_order(prefill_order_));
  HEED_TRY(pages_.settle(o_.engine));
  return eval::check_options(o_);
}

Status BenchVerb::settle_kernels() {
  if (!formats_.empty()) kernels_.formats.clear();
  for (const std::string& name : formats_) {
    HEED_ASSIGN(kernels_.formats.emplace_back(), parse_format(name));
  }
  const auto wanted = [this](const char* phase) {
    return phases_.empty() || std::find(phases_.begin(), phases_.end(), phase) != phases_.end();
  };
  kernels_.prefill = wanted("prefill");
  kernels_.decode = wanted("decode");
  kernels_.rounds = o_.rounds;
  kernels_.threads = o_.threads;
  return eval::check_options(kernels_);
}

Status BenchVerb::settle_linears() {
  const std::vector<std::string> words = type_words();
  if (!types_.empty()) linears_.types.clear();
  for (const std::string& name : types_) {
    const auto at = std::find(words.begin(), words.end(), name) - words.begin();
    linears_.types.push_back(eval::all_weight_types()[static_cast<size_t>(at)]);
  }
  linears_.cross = o_.cross;
  linears_.rounds = o_.rounds;
  linears_.threads = o_.threads;
  HEED_ASSIGN(const Linear linear, parse_linear(linear_));
  if (linear == Linear::kGgml) {
    return error(Code::kInvalidArgument,
                 "--linear ggml: `bench linears` measures heed's beside "
                 "ggml's; name heed or accurate");
  }
  if (linear == Linear::kAccurate) linears_.precision = Precision::kAccurate;
  return eval::check_options(linears_);
}

Status BenchVerb::settle() {
  const auto at = std::find(kForms.begin(), kForms.end(), output_) - kForms.begin();
  form_ = static_cast<eval::BenchForm>(at);  // kForms is in the order of the enum
  HEED_TRY(adapters_.settle());
  if (!what_.empty() && (!adapters_.files().loras.empty() || adapters_.steers())) {
    return error(Code::kInvalidArgument,
                 "--lora and --control-vector are laid over a model; bench ", what_, " has none");
  }
  if (what_ == "kernels") return settle_kernels();
  return what_ == "linears" ? settle_linears() : settle_model();
}

template <class Report>
std::string BenchVerb::rest_of(const Report& report) const {
  if (form_ != eval::BenchForm::kJsonl) return eval::format_report(report, form_);
  return eval::jsonl_rows(report, printed_) + eval::jsonl_machine(report.machine);
}

template <class Report>
void BenchVerb::take(const Report& so_far) {
  if (form_ == eval::BenchForm::kJsonl) {
    fmt::print("{}", eval::jsonl_rows(so_far, printed_));
    std::fflush(stdout);
    printed_ = so_far.rows.size();
  }
  so_far_text().store(std::make_shared<const std::string>(rest_of(so_far)));
}

Result<std::string> BenchVerb::measure() {
  o_.cancel = kernels_.cancel = linears_.cancel = &interrupt_token();
  const auto say = [](const std::string& line) { note(printable(line)); };
  if (!quiet_) o_.say = kernels_.say = linears_.say = say;
  if (what_ == "kernels") {
    kernels_.on_rows = [this](const eval::KernelReport& so_far) { take(so_far); };
    HEED_ASSIGN(const auto report, eval::bench_kernels(kernels_));
    return rest_of(report);
  }
  if (what_ == "linears") {
    linears_.on_rows = [this](const eval::LinearReport& so_far) { take(so_far); };
    HEED_ASSIGN(const auto report, eval::bench_linears(linears_));
    return rest_of(report);
  }
  const auto mode = quiet_ ? ProgressLine::Mode::kOff : ProgressLine::Mode::kOnTerminal;
  std::vector<std::string> loras;  // that come with the model
  HEED_ASSIGN(o_.model, model_path(model_, offline_, mode, &loras));
  adapters_.add_loras(loras);
  o_.adapters = adapters_.files();
  o_.on_rows = [this](const eval::BenchReport& so_far) { take(so_far); };
  HEED_ASSIGN(const auto report, eval::bench_model(o_));
  return rest_of(report);
}

int BenchVerb::run() {
  if (model_.empty() && what_.empty()) {
    return usage_error(name(), "-m MODEL says what to measure, or `heed bench kernels|linears`");
  }
  if (const Status settled = settle(); !settled.is_ok()) {
    return usage_error(name(), settled.message());
  }
  watch_interrupts();
  set_last_words([] { return "\nheed: " + print_so_far() + "\n"; });
  const Result<std::string> text = measure();
  if (text.code() == Code::kCancelled) {
    acknowledge_interrupt();
    note(print_so_far());
    return interrupt_exit_code();
  }
  if (!text.is_ok()) return fail(text.status());
  fmt::print("{}", *text);
  return kDone;
}

}  // namespace

std::unique_ptr<Verb> make_bench() { return std::make_unique<BenchVerb>(); }

}  // namespace heed::cli
