// The adapters and control vectors that an evaluation lays over a model, the same in both engines.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eval/llama_baseline.h"
#include "heed/adapters.h"

namespace heed::eval {

struct AdapterFiles {
  std::vector<ScaledFile> loras, controls;
  LayerRange range;  // of the control vectors

  // For PlannedRun.
  std::vector<std::string> lora_paths() const;
  bool steers() const { return !controls.empty(); }
  // Null without any.
  Result<std::shared_ptr<const Adaptation>> load(const Model& model) const;
};

// Gives the peer what `adaptation`, loaded from `files` for `model`, is to heed; null: nothing.
// Errors: what llama.cpp aborts on, with the way out.
Status adapt_peer(const AdapterFiles& files, const Adaptation* adaptation, const Model& model,
                  const std::string& way_out, LlamaOptions& llama);

// ", 2 LoRA and a control vector" behind a configuration; empty where there is neither.
std::string adapters_suffix(size_t loras, bool steers);

}  // namespace heed::eval
