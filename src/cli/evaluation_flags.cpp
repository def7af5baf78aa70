#include "cli/evaluation_flags.h"

#include "cli/parse.h"

namespace heed::cli {

void EvaluationFlags::bind(CLI::App& app, int& threads) {
  formats.bind(app);
  add_linear(app, linear);
  add_threads(app, threads);
  add(app, "-o,--output", output, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  add_flag(app, "--offline", offline, "Use only what is on this machine");
  add_flag(app, "--progress", progress, "Progress even when stderr is no terminal");
  add_flag(app, "-q,--quiet", quiet, "No progress");
}

Status EvaluationFlags::settle(EngineOptions& engine, Linear& products) const {
  HEED_ASSIGN(products, parse_linear(linear));
  return formats.settle(engine);
}

ProgressLine::Mode EvaluationFlags::progress_mode() const {
  if (quiet) return ProgressLine::Mode::kOff;
  return progress ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
}

}  // namespace heed::cli
