// heed kl: how far heed's logits are from llama.cpp's and both from the exact model.
#include "eval/kl.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/read_file.h"
#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

Result<std::string> read_text(const std::string& path) {
  HEED_ASSIGN(std::string text, read_file(path, "--text " + path));
  if (text.empty()) return error(Code::kInvalidArgument, "--text ", path, " is empty");
  return text;
}

std::string table(const eval::KlReport& r) {
  const auto row = [](const char* name, const eval::PairStats& s) {
    return fmt::format("{:<28} {:>10.3e} {:>10.3e} {:>10.3e} {:>10.3e} {:>8.3f} % {:>9.3g}\n", name,
                       s.mean_kl(), s.kl_percentile(0.5), s.kl_percentile(0.99), s.max_kl(),
                       100 * s.top1_agreement(), s.max_abs_dlogit());
  };
  std::string text = fmt::format(
      "{} ({} tokens in {} windows of {}; K {}, V {}, {}, {} threads)\n\n"
      "{:<28} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}\n",
      printable(r.model), r.tokens, r.windows, r.context, r.k_type, r.v_type, r.isa, r.threads,
      "KL in nats", "mean", "p50", "p99", "max", "same top", "max |d|");
  text += row("llama.cpp to heed", r.heed);
  text += row("llama.cpp to itself, no flash", r.yardstick);
  text += fmt::format("\nmean KL from the exact model: heed {:.4e}, llama.cpp {:.4e}\n", r.ref_heed,
                      r.ref_llama);
  return text;
}

class KlVerb final : public Verb {
 public:
  const char* name() const override { return "kl"; }
  const char* summary() const override {
    return "Compare logits with llama.cpp's, every position of a text";
  }
  const char* examples() const override {
    return "  heed kl -m smollm2:135m --against llama.cpp --text docs/demo/document.txt -c 2048\n"
           "  heed kl -m qwen2.5-coder:0.5b --text book.txt -c 1024 --windows 2 --weights f32 -o "
           "json\n";
  }
  void options(CLI::App& app) override;
  int run() override;

 private:
  ProgressLine::Mode progress_mode() const {
    if (quiet_) return ProgressLine::Mode::kOff;
    return progress_ ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
  }
  Result<eval::KlReport> measure(ProgressLine& line);

  eval::KlOptions o_;
  std::string model_, text_, against_ = "llama.cpp", weights_ = "stored", output_ = "text";
  std::string k_type_, v_type_, linear_ = "heed";
  bool offline_ = false, quiet_ = false, progress_ = false;
};

void KlVerb::options(CLI::App& app) {
  add_model(app, model_)->required();
  add(app, "--text", text_, "File with the text")->required()->type_name("FILE");
  add(app, "--against", against_, "The other engine")->check(one_of({"llama.cpp"}));
  add(app, "-c,--ctx-size", o_.context, "Tokens a window; each is a fresh sequence")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  add(app, "--windows", o_.windows, "At most this many windows; 0: all")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  add(app, "--weights", weights_,
      "f32: both engines on a temporary F32 copy, heed with f32 pages unless -ctk, -ctv")
      ->check(one_of({"stored", "f32"}))
      ->capture_default_str();
  add(app, "--cache-type-k", k_type_, "Format of heed's keys (-ctk)")
      ->check(one_of({"f32", "f16", "bf16"}));
  add(app, "--cache-type-v", v_type_, "Format of heed's values (-ctv)")
      ->check(one_of({"f32", "f16", "bf16"}));
  add_linear(app, linear_);
  add_threads(app, o_.threads);
  add(app, "-o,--output", output_, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  add_flag(app, "--offline", offline_, "Use only what is on this machine");
  add_flag(app, "--progress", progress_, "Progress even when stderr is no terminal");
  add_flag(app, "-q,--quiet", quiet_, "No progress");
}

Result<eval::KlReport> KlVerb::measure(ProgressLine& line) {
  HEED_ASSIGN(o_.text, read_text(text_));
  HEED_ASSIGN(o_.model, model_path(model_, offline_, progress_mode()));
  o_.model_label = model_;
  o_.weights_f32 = weights_ == "f32";
  HEED_ASSIGN(o_.linear, parse_linear(linear_));
  if (!k_type_.empty()) {
    HEED_ASSIGN(o_.engine.k, parse_format(k_type_));
  }
  if (!v_type_.empty()) {
    HEED_ASSIGN(o_.engine.v, parse_format(v_type_));
  }
  o_.cancel = &interrupt_token();
  o_.progress = [&line, phase = std::string()](const std::string& what, double fraction) mutable {
    line.show(fmt::format("{} {:3.0f} %", what, 100 * fraction), what != phase);
    phase = what;
  };
  if (!quiet_) o_.say = [](const std::string& text) { note(text); };
  return eval::run_kl(o_);
}

int KlVerb::run() {
  watch_interrupts();
  set_last_words([] { return std::string("\nheed: interrupted; no figure was printed\n"); });
  ProgressLine line(progress_mode());
  const Result<eval::KlReport> report = measure(line);
  line.clear();
  if (report.code() == Code::kCancelled) {
    acknowledge_interrupt();
    note("interrupted; no figure was printed");
    return interrupt_exit_code();
  }
  if (!report.is_ok()) return fail(report.status());
  if (output_ == "json") {
    print_json(eval::to_json(*report));
  } else {
    fmt::print("{}", table(*report));
  }
  return kDone;
}

}  // namespace

std::unique_ptr<Verb> make_kl() { return std::make_unique<KlVerb>(); }

}  // namespace heed::cli
