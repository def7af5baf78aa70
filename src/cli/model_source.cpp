#include "cli/model_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/pull_line.h"
#include "model/ollama_store.h"
#include "model/pull.h"

namespace heed::cli {
namespace {

Result<std::string> ollama_path(const std::string& name, bool quiet,
                                std::vector<std::string>* adapters) {
  HEED_ASSIGN(const OllamaModel model, find_ollama_model(name));
  if (!model.adapters.empty() && adapters == nullptr) {
    return error(Code::kUnsupported, model.name,
                 ": has LoRA adapters, which heed run, chat, bench, kl and perplexity apply; the "
                 "model alone is ",
                 model.path);
  }
  if (adapters != nullptr) *adapters = model.adapters;
  if (!quiet && !model.ignored.empty()) {
    note(
        fmt::format("{}: not applied of Ollama's layers: {}; the GGUF file's own chat template and "
                    "sampling are taken",
                    model.name, fmt::join(model.ignored, ", ")));
  }
  return model.path;
}

}  // namespace

Result<std::string> model_path(const std::string& name, bool offline, ProgressLine::Mode progress,
                               std::vector<std::string>* adapters) {
  if (is_ollama_name(name))
    return ollama_path(name, progress == ProgressLine::Mode::kOff, adapters);
  PullLine line(progress);
  PullOptions options;
  options.offline = offline;
  options.cancel = &interrupt_token();
  options.progress = [&line](const PullProgress& p) { line.show(p); };
  return ensure_model(name, options);
}

Result<std::shared_ptr<Model>> open_model(const std::string& path, const ModelOptions& options,
                                          ProgressLine::Mode progress) {
  ProgressLine line(progress);
  ModelOptions with = options;
  with.cancel = &interrupt_token();
  with.progress = [&line](double fraction) {
    line.show(fmt::format("loading {:3.0f} %", 100 * fraction), fraction >= 1);
  };
  return Model::load(path, with);
}

std::string model_title(const ModelInfo& info) {
  const size_t slash = info.path.rfind('/');
  const std::string file = slash == std::string::npos ? info.path : info.path.substr(slash + 1);
  const std::string& name = info.name.empty() ? file : info.name;
  return printable(fmt::format("{} ({}, {})", name, info.architecture, info.file_type));
}

}  // namespace heed::cli
