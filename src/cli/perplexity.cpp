// heed perplexity: how surprised a model is by a text, and llama.cpp beside it.
#include "eval/perplexity.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/read_file.h"
#include "base/text.h"
#include "cli/evaluation_flags.h"
#include "cli/interrupt.h"
#include "cli/parse.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

using eval::Perplexity;
using eval::PerplexityReport;

// As llama.cpp reads it: one newline at the end is the editor's.
Result<std::string> read_text(const std::string& path) {
  HEED_ASSIGN(std::string text, read_file(path, "-f " + path));
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) return error(Code::kInvalidArgument, "-f ", path, " is empty");
  return text;
}

std::string estimate(const Perplexity& p) {
  return fmt::format("{:.4f} +/- {:.5f}", p.value(), p.margin());
}

std::string progress_text(const PerplexityReport& r) {
  const double spent = r.heed.seconds + (r.llama ? r.llama->seconds : 0);
  const double left = spent / static_cast<double>(r.done) * static_cast<double>(r.windows - r.done);
  return fmt::format(
      "window {} of {}: perplexity {}{}, {} left", r.done, r.windows, estimate(r.heed),
      r.llama ? fmt::format(" (llama.cpp {:.4f})", r.llama->value()) : "", seconds_text(left));
}

std::string table(const PerplexityReport& r) {
  const auto row = [](const char* engine, const Perplexity& p) {
    return fmt::format("{:<10} {:>24} {:>12.6f} {:>12}\n", engine, estimate(p),
                       p.nll / static_cast<double>(p.tokens), seconds_text(p.seconds));
  };
  std::string text = fmt::format(
      "{} ({} tokens scored in {} of {} windows of {}{}; K {}, V {}, {} threads)\n\n"
      "{:<10} {:>24} {:>12} {:>12}\n",
      printable(r.model), r.heed.tokens, r.done, r.windows, r.context,
      r.stride > 0 ? fmt::format(", stride {}", r.stride) : "", r.k_type, r.v_type, r.threads, "",
      "perplexity", "mean -ln p", "time");
  text += row("heed", r.heed);
  if (r.llama) {
    text += row("llama.cpp", *r.llama);
    text += fmt::format("\nheed over llama.cpp: {:.6f}; llama.cpp: {}\n",
                        r.heed.value() / r.llama->value(), r.llama_config);
  }
  return text;
}

class PerplexityVerb final : public Verb {
 public:
  const char* name() const override { return "perplexity"; }
  const char* alias() const override { return "ppl"; }
  const char* summary() const override { return "Score a text by llama.cpp's definition (ppl)"; }
  const char* examples() const override {
    return "  heed perplexity -m smollm2:135m -f docs/demo/document.txt\n"
           "  heed perplexity -m model.gguf -f wiki.test.raw -c 512 --chunks 20 --compare "
           "llama.cpp\n"
           "  heed ppl -m model.gguf -f book.txt -c 2048 -ctk f16 -ctv f16 -o json\n";
  }
  void options(CLI::App& app) override;
  int run() override;

 private:
  Status settle();
  Result<PerplexityReport> measure(ProgressLine& line);

  eval::PerplexityOptions o_;
  std::string model_, file_, compare_;
  int batch_ = 2048, ubatch_ = 512;
  EvaluationFlags flags_;
};

void PerplexityVerb::options(CLI::App& app) {
  add_model(app, model_)->required();
  add(app, "-f,--file", file_, "File with the text")->required()->type_name("FILE");
  add(app, "-c,--ctx-size", o_.context,
      "Tokens a window; each is a fresh sequence whose second half is scored")
      ->check(CLI::Range(4, 1 << 24))
      ->capture_default_str();
  add(app, "--chunks", o_.chunks, "At most this many windows; -1: all")
      ->check(CLI::Range(-1, 1 << 24))
      ->capture_default_str();
  add(app, "--ppl-stride", o_.stride,
      "Windows begin this many tokens apart and score as many; 0: they do not overlap")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  add(app, "-b,--batch-size", batch_, "Limits -ub, as in llama.cpp")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add(app, "--ubatch-size", ubatch_, "Tokens a step (-ub)")
      ->check(CLI::Range(1, EngineOptions::kMaxChunk))
      ->capture_default_str();
  add(app, "--compare", compare_, "Score the same windows with this engine too, and print both")
      ->check(one_of({"llama.cpp"}));
  flags_.bind(app, o_.threads);
}

Status PerplexityVerb::settle() {
  HEED_ASSIGN(o_.text, read_text(file_));
  HEED_TRY(flags_.settle(o_.engine, o_.linear));
  HEED_ASSIGN(o_.model, flags_.find_model(model_));
  o_.model_label = model_;
  o_.compare = !compare_.empty();
  o_.adapters = flags_.adapters.files();
  o_.engine.chunk = std::min(batch_, ubatch_);
  return Status::ok();
}

Result<PerplexityReport> PerplexityVerb::measure(ProgressLine& line) {
  HEED_TRY(settle());
  o_.cancel = &interrupt_token();
  o_.progress = [&line](const std::string& what, double fraction) {
    line.show(fmt::format("{} {:3.0f} %", what, 100 * fraction));
  };
  o_.on_window = [&line](const PerplexityReport& r) { line.show(progress_text(r), r.done == 1); };
  if (!flags_.quiet) o_.say = [](const std::string& text) { note(text); };
  return eval::run_perplexity(o_);
}

int PerplexityVerb::run() {
  watch_interrupts();
  set_last_words([] { return std::string("\nheed: interrupted; no figure was printed\n"); });
  ProgressLine line(flags_.progress_mode());
  const Result<PerplexityReport> report = measure(line);
  line.clear();
  const bool before = report.code() == Code::kCancelled;
  if (!report.is_ok() && !before) return fail(report.status());
  const bool interrupted = before || report->interrupted;
  if (interrupted) acknowledge_interrupt();
  if (!before && flags_.output == "json") {
    print_json(eval::to_json(*report));
  } else if (!before && report->done > 0) {
    fmt::print("{}", table(*report));
    std::fflush(stdout);
  }
  if (!interrupted) return kDone;
  note(before || report->done == 0
           ? "interrupted before the first window was scored"
           : cat("interrupted after ", report->done, " of ", report->windows, " windows"));
  return interrupt_exit_code();
}

}  // namespace

std::unique_ptr<Verb> make_perplexity() { return std::make_unique<PerplexityVerb>(); }

}  // namespace heed::cli
