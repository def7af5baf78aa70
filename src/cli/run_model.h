// What `heed run` and `heed chat` settle about a model before its weights are read.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/run_options.h"
#include "cli/terminal.h"

namespace heed::cli {

struct RunModel {
  std::string path;
  ModelInfo info;                        // of the header
  std::vector<SamplingKey> recommended;  // what the file decided of the sampling
};

// Finds the files of the model and of the draft model, pulls them when missing, and fills in what
// the options leave to them. Errors: a context that the model does not have.
Result<RunModel> find_run_model(RunOptions& options);

Result<ModelOptions> load_options(const RunOptions& options);

// Shows how far a prompt is.
std::function<void(int64_t done, int64_t total)> show_prefill(ProgressLine& line);

}  // namespace heed::cli
