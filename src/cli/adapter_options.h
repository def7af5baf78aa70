// --lora, --control-vector and their kin, under llama.cpp's names, for every verb that answers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "heed/adapters.h"

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

  const std::vector<ScaledFile>& loras() const { return loras_; }
  const std::vector<std::string>& lora_paths() const { return paths_; }  // of loras()
  bool steers() const { return !controls_.empty(); }

  // Null where no flag asks for any.
  Result<std::shared_ptr<const Adaptation>> load(const Model& model) const;

 private:
  // As typed.
  std::vector<std::string> lora_, lora_scaled_, control_, control_scaled_;
  std::pair<int, int> range_{0, 0};

  std::vector<ScaledFile> loras_, controls_;
  std::vector<std::string> paths_;
};

}  // namespace heed::cli
