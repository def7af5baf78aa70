// What the verbs that evaluate a text have in common: heed's formats, products and progress.
#pragma once

#include <string>

#include "cli/page_formats.h"
#include "cli/terminal.h"
#include "heed/engine.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct EvaluationFlags {
  PageFormats formats;
  // As typed.
  std::string linear = "heed", output = "text";
  bool offline = false, quiet = false, progress = false;

  void bind(CLI::App& app, int& threads);
  // Into the library's terms.
  Status settle(EngineOptions& engine, Linear& products) const;
  ProgressLine::Mode progress_mode() const;
};

}  // namespace heed::cli
