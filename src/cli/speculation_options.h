// Speculative decoding on the command line: llama.cpp's flags, and the drafter that they ask for.
#pragma once

#include <memory>
#include <string>

#include "cli/terminal.h"
#include "heed/speculative.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct SpeculationOptions {
  // As typed.
  std::string model;
  bool lookup = false;
  int max = 0;  // 0: what suits the drafter
  int min = 0;
  float p_min = 0;
  int64_t context = 0;
  int ngram = 0;  // 0: the library's

  // Of the draft model's file, after find_model().
  std::string path;
  EngineOptions engine;

  void bind(CLI::App& app);
  // The error is a usage error.
  Status settle() const;

  bool wanted() const { return lookup || !model.empty(); }
  // Tokens a draft at most.
  int most() const;
  // Fetches the draft model's file where there is one; its context goes as far as `target_context`
  // and its own allow.
  Status find_model(bool offline, ProgressLine::Mode progress, int64_t target_context, int chunk);
  // Loads what guesses for `target`, which must live longer; null when nothing is wanted.
  Result<std::unique_ptr<Drafter>> open(const Engine& target, const ModelOptions& load,
                                        ProgressLine::Mode progress) const;
  DraftOptions limits(Drafter* drafter) const;
};

}  // namespace heed::cli
