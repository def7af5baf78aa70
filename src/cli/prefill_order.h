// --prefill-order, which several verbs take.
#pragma once

#include <string>

#include "cli/parse.h"

namespace heed::cli {

inline CLI::Option* add_prefill_order(CLI::App& app, std::string& value) {
  return add(app, "--prefill-order", value,
             "Prompts go through all layers chunk by chunk (token), or whole through one "
             "layer after another (layer); auto: by predicted memory")
      ->check(one_of({"auto", "token", "layer"}))
      ->capture_default_str();
}

}  // namespace heed::cli
