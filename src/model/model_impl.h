// What a loaded model is made of. Private to libheed-llm.
#pragma once

#include <memory>

#include "heed/model.h"

struct llama_model;

namespace heed {

class GgufFile;
struct Hyperparameters;
class ModelWeights;

struct Model::Impl {
  Impl();
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ModelInfo info;
  int threads = 1;
  double load_s = 0;
  std::unique_ptr<GgufFile> file;
  std::unique_ptr<Hyperparameters> hyper;
  std::unique_ptr<ModelWeights> weights;
  // libllama's view of the same file, loaded with vocab_only: tokenizer, template, samplers. Its
  // hyper-parameters are zero (libllama does not read them then); they are in `hyper`. Never null.
  llama_model* vocab = nullptr;
};

}  // namespace heed
