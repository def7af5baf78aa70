// heed kl: how far heed's logits are from llama.cpp's and both from the exact model.
#include "eval/kl.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/read_file.h"
#include "base/text.h"
#include "cli/evaluation_flags.h"
#include "cli/interrupt.h"
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
           "  heed kl -m model.gguf --lora style.gguf:0.5 --text book.txt -c 512\n"
           "  heed kl -m qwen2.5-coder:0.5b --text book.txt -c 1024 --windows 2 --weights f32 -o "
           "json\n";
  }
  void options(CLI::App& app) override;
  int run() override;

 private:
  Result<eval::KlReport> measure(ProgressLine& line);

  eval::KlOptions o_;
  std::string model_, text_, against_ = "llama.cpp", weights_ = "stored";
  EvaluationFlags flags_;
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
  flags_.bind(app, o_.threads);
}

Result<eval::KlReport> KlVerb::measure(ProgressLine& line) {
  HEED_ASSIGN(o_.text, read_text(text_));
  HEED_TRY(flags_.settle(o_.engine, o_.linear));
  HEED_ASSIGN(o_.model, flags_.find_model(model_));
  o_.model_label = model_;
  o_.adapters = flags_.adapters.files();
  o_.weights_f32 = weights_ == "f32";
  o_.cancel = &interrupt_token();
  o_.progress = [&line, phase = std::string()](const std::string& what, double fraction) mutable {
    line.show(fmt::format("{} {:3.0f} %", what, 100 * fraction), what != phase);
    phase = what;
  };
  if (!flags_.quiet) o_.say = [](const std::string& text) { note(text); };
  return eval::run_kl(o_);
}

int KlVerb::run() {
  watch_interrupts();
  set_last_words([] { return std::string("\nheed: interrupted; no figure was printed\n"); });
  ProgressLine line(flags_.progress_mode());
  const Result<eval::KlReport> report = measure(line);
  line.clear();
  if (report.code() == Code::kCancelled) {
    acknowledge_interrupt();
    note("interrupted; no figure was printed");
    return interrupt_exit_code();
  }
  if (!report.is_ok()) return fail(report.status());
  if (flags_.output == "json") {
    print_json(eval::to_json(*report));
  } else {
    fmt::print("{}", table(*report));
  }
  return kDone;
}

}  // namespace

std::unique_ptr<Verb> make_kl() { return std::make_unique<KlVerb>(); }

}  // namespace heed::cli
