// From what -m says to a file on this machine, and from there to a loaded model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "heed/engine.h"
#include "heed/status.h"

namespace heed::cli {

// A path, a short name or a name of Ollama's; what is missing is pulled, with a progress line. A
// model of Ollama's that comes with adapters leaves their files in `adapters`; without a place for
// them it is refused.
Result<std::string> model_path(const std::string& name, bool offline, ProgressLine::Mode progress,
                               std::vector<std::string>* adapters = nullptr);

// Loads with a progress line; Ctrl-C cancels.
Result<std::shared_ptr<Model>> open_model(const std::string& path, const ModelOptions& options,
                                          ProgressLine::Mode progress);

// "SmolLM2 135M (llama, Q4_1)": for people, safe to print.
std::string model_title(const ModelInfo& info);

}  // namespace heed::cli
