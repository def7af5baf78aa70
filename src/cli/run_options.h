// The options of `heed run`, checked and in the library's terms.
#pragma once

#include <string>

#include "cli/prompt.h"
#include "cli/sampling_options.h"
#include "cli/terminal.h"
#include "heed/generate.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct RunOptions {
  // As typed.
  std::string model;
  std::vector<std::string> positional;
  PromptSource prompt;
  std::string system;
  SamplingOptions sampling;
  std::string k_type, v_type;
  std::string linear = "heed";
  std::string flash = "on";
  std::string rope_scaling;
  double rope_freq_scale = 0;
  std::string output = "text";
  std::string compare;
  std::string expect;
  int64_t context = 0;
  int64_t rope_context = 0;  // the model's
  int64_t predict = -1;
  int keep = 0;
  int batch = 2048, ubatch = 512;
  int threads = 0;
  bool raw = false, quiet = false, progress = false, verbose = false;
  bool offline = false;

  SamplerOptions sampler;
  EngineOptions engine;

  // Adds the options to `app`.
  void bind(CLI::App& app);
  // Sorts out positionals and fills `sampler` and `engine`. The error is a usage error.
  Status settle();

  Status settle_rope();

  bool json() const { return output == "json"; }
  ProgressLine::Mode progress_mode() const;
};

}  // namespace heed::cli
