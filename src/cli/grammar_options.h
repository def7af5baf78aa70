// What an answer must look like: --grammar, --json-schema and their files.
#pragma once

#include <string>

#include "heed/status.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct GrammarFlags {
  // As typed.
  std::string grammar, grammar_file, schema, schema_file;

  void bind(CLI::App& app);
  // GBNF, checked; empty: none was asked for. The error is a usage error.
  Result<std::string> settle() const;
};

}  // namespace heed::cli
