// The sampling options of `heed run`, in llama.cpp's spellings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/grammar_options.h"
#include "heed/sampling.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct SamplingOptions {
  SamplerOptions values;
  // As typed.
  std::string names, letters;
  std::vector<std::string> breakers, biases;
  GrammarFlags grammar;
  int64_t seed = -1;

  void bind(CLI::App& app);
  // Everything in the library's terms, names and ranges checked. The error is a usage error.
  Result<SamplerOptions> settle(bool escapes) const;
  // What the user set, flag or variable, by the names that take_recommended() leaves alone.
  std::vector<std::string> own() const;

 private:
  const CLI::App* app_ = nullptr;  // that of bind(), which lives as long as the run
};

}  // namespace heed::cli
