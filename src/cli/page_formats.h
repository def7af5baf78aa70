// The formats of pages that a person asks for: -ctk and -ctv.
#pragma once

#include <string>

#include "heed/engine.h"

namespace CLI {
class App;
}

namespace heed::cli {

class PageFormats {
 public:
  // Adds the options to `app`.
  void bind(CLI::App& app);
  Status settle(EngineOptions& engine) const;
  // What was asked for as the stage `kv` of a policy, "k:f16,v:bf16"; empty: nothing.
  std::string policy_text() const;

 private:
  std::string k_, v_;  // as typed; empty: the model's own
};

}  // namespace heed::cli
