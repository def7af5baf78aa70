#include "cli/evaluation_flags.h"

#include "cli/parse.h"

namespace heed::cli {

void EvaluationFlags::bind(CLI::App& app, int& threads) {
  add(app, "--cache-type-k", k_type, "Format of heed's keys (-ctk)")
      ->check(one_of({"f32", "f16", "bf16"}));
  add(app, "--cache-type-v", v_type, "Format of heed's values (-ctv)")
      ->check(one_of({"f32", "f16", "bf16"}));
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
  if (!k_type.empty()) {
    HEED_ASSIGN(engine.k, parse_format(k_type));
  }
  if (!v_type.empty()) {
    HEED_ASSIGN(engine.v, parse_format(v_type));
  }
  return Status::ok();
}

ProgressLine::Mode EvaluationFlags::progress_mode() const {
  if (quiet) return ProgressLine::Mode::kOff;
  return progress ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
}

}  // namespace heed::cli
