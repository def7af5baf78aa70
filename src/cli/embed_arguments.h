// The options of `heed embed`, checked and in the library's terms.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/page_formats.h"
#include "cli/terminal.h"
#include "heed/embed.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct EmbedArguments {
  // As typed.
  std::string model;
  std::vector<std::string> positional;  // a text each
  std::string prompt, file, separator = "\n";
  std::string pooling_word, format, output = "text";
  std::string linear = "heed";
  PageFormats formats;
  int norm = 2;
  int64_t context = 0;
  int ubatch = 512, threads = 0;
  bool escapes = true, truncate = false;
  bool offline = false, quiet = false, progress = false;

  std::optional<Pooling> pooling;
  EngineOptions engine;

  // Adds the options to `app`.
  void bind(CLI::App& app);
  // Fills `pooling` and `engine`. The error is a usage error.
  Status settle();
  // Of the command line, -p, -f or stdin. kInvalidArgument is a usage error.
  Result<std::vector<std::string>> texts() const;

  ProgressLine::Mode progress_mode() const;
};

}  // namespace heed::cli
