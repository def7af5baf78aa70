// Models in a store of Ollama's ($OLLAMA_MODELS or ~/.ollama/models), read where they lie: a
// manifest, manifests/HOST/NAMESPACE/NAME/TAG, lists the blobs that a model is made of. Nothing is
// ever written there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"

namespace heed {

struct OllamaModel {
  std::string name;                   // "ollama:llama3.2:1b", as short as it can be
  std::string path;                   // of the GGUF file
  std::vector<std::string> adapters;  // LoRA adapters in GGUF that belong to it
  std::vector<std::string> ignored;   // layers that heed does not apply: "template", "params"
  uint64_t bytes = 0;                 // of the file and the adapters
};

// "ollama:" and a name.
bool is_ollama_name(std::string_view name);

// By "ollama:[[HOST/]NAMESPACE/]NAME[:TAG]", with Ollama's defaults registry.ollama.ai, library and
// latest. Errors: no store, a name that it does not hold (with the nearest), a manifest that is
// damaged or whose blobs are missing.
Result<OllamaModel> find_ollama_model(std::string_view name);

// Everything in the store whose manifest and blobs are whole, by name; nothing where there is no
// store.
std::vector<OllamaModel> list_ollama_models();

}  // namespace heed
