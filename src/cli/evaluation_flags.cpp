#include "cli/evaluation_flags.h"

#include "cli/model_source.h"
#include "cli/parse.h"

namespace heed::cli {

void EvaluationFlags::bind(CLI::App& app, int& threads) {
  formats.bind(app);
  adapters.bind(app);
  add_linear(app, linear);
  add_threads(app, threads);
  add(app, "-o,--output", output, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  add_flag(app, "--offline", offline, "Use only what is on this machine");
  add_flag(app, "--progress", progress, "Progress even when stderr is no terminal");
  add_flag(app, "-q,--quiet", quiet, "No progress");
}

Status EvaluationFlags::settle(EngineOptions& engine, Linear& products) {
  HEED_ASSIGN(products, parse_linear(linear));
  HEED_TRY(adapters.settle());
  return formats.settle(engine);
}

Result<std::string> EvaluationFlags::find_model(const std::string& name) {
  std::vector<std::string> loras;
  HEED_ASSIGN(std::string path, model_path(name, offline, progress_mode(), &loras));
  adapters.add_loras(loras);
  return path;
}

ProgressLine::Mode EvaluationFlags::progress_mode() const {
  if (quiet) return ProgressLine::Mode::kOff;
  return progress ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
}

}  // namespace heed::cli
