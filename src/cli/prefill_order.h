// --prefill-order, which several verbs take.
#pragma once

#include <string>

#include "cli/parse.h"

namespace heed::cli {

inline CLI::Option* add_prefill_order(CLI::App& app, std::string& value) {
  return add(app, "--prefill-order", value,
             "Read a prompt chunk by chunk through all layers (token), layer by layer (layer), or "
             "as takes less memory")
      ->check(one_of({"auto", "token", "layer"}))
      ->capture_default_str();
}

}  // namespace heed::cli
