// --lora, --control-vector and their kin, under llama.cpp's names, for every verb that computes
// with a model.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eval/adapter_files.h"

namespace CLI {
class App;
}

namespace heed::cli {

class AdapterOptions {
 public:
  void bind(CLI::App& app);
  // Files and scales out of what was typed. The error is a usage error.
  Status settle();
  // Adapters that come with the model, before those of the flags.
  void add_loras(const std::vector<std::string>& files);

  const eval::AdapterFiles& files() const { return files_; }
  const std::vector<std::string>& lora_paths() const { return paths_; }  // of files()
  bool steers() const { return files_.steers(); }

  // Null where no flag asks for any.
  Result<std::shared_ptr<const Adaptation>> load(const Model& model) const {
    return files_.load(model);
  }

 private:
  // As typed.
  std::vector<std::string> lora_, lora_scaled_, control_, control_scaled_;
  std::pair<int, int> range_{0, 0};

  eval::AdapterFiles files_;
  std::vector<std::string> paths_;
};

}  // namespace heed::cli
