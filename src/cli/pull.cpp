// heed pull NAME: bring a catalogued model into $HEED_HOME/models.
#include "model/pull.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/interrupt.h"
#include "cli/parse.h"
#include "cli/pull_line.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

class PullVerb final : public Verb {
 public:
  const char* name() const override { return "pull"; }
  const char* summary() const override {
    return "Download a model, verify it and keep it; an interrupted download continues";
  }
  const char* examples() const override {
    return "  heed pull smollm2:135m\n"
           "  heed pull qwen2.5-coder:0.5b -o json\n";
  }

  void options(CLI::App& app) override {
    app.add_option("NAME", name_, "Short name of a model (heed ls shows them)")->required();
    add_flag(app, "--offline", offline_, "Use only what is on this machine");
    add_flag(app, "--progress", progress_, "Progress even when stderr is no terminal");
    add_flag(app, "-q,--quiet", quiet_, "No progress");
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json"}))
        ->capture_default_str();
  }

  int run() override {
    watch_interrupts();
    PullLine line(quiet_      ? ProgressLine::Mode::kOff
                  : progress_ ? ProgressLine::Mode::kAlways
                              : ProgressLine::Mode::kOnTerminal);
    PullOptions options;
    options.offline = offline_;
    options.cancel = &interrupt_token();
    options.progress = [&line](const PullProgress& p) { line.show(p); };
    set_last_words([] { return std::string("\nheed: interrupted; the same command continues\n"); });
    const auto start = Clock::now();
    const Result<std::string> path = pull_model(name_, options);
    acknowledge_interrupt();
    if (path.code() == Code::kCancelled) {
      note("interrupted; the same command continues where it stopped");
      return interrupt_exit_code();
    }
    if (!path.is_ok()) return fail(path.status());
    const double seconds = seconds_since(start);
    if (output_ == "json") {
      print_json({{"name", name_}, {"path", *path}, {"seconds", seconds}});
    } else {
      fmt::print("{}\n", printable(*path));
    }
    return kDone;
  }

 private:
  std::string name_;
  std::string output_ = "text";
  bool offline_ = false, progress_ = false, quiet_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_pull() { return std::make_unique<PullVerb>(); }

}  // namespace heed::cli
