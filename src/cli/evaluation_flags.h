// What the verbs that evaluate a text have in common: heed's formats, products and progress.
#pragma once

#include <string>

#include "cli/adapter_options.h"
#include "cli/page_formats.h"
#include "cli/terminal.h"
#include "heed/engine.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct EvaluationFlags {
  PageFormats formats;
  AdapterOptions adapters;
  // As typed.
  std::string linear = "heed", output = "text";
  bool offline = false, quiet = false, progress = false;

  void bind(CLI::App& app, int& threads);
  // Into the library's terms.
  Status settle(EngineOptions& engine, Linear& products);
  // The file; adapters that come with the model go before those of the flags. After settle().
  Result<std::string> find_model(const std::string& name);
  ProgressLine::Mode progress_mode() const;
};

}  // namespace heed::cli
