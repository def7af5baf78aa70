// Measured results kept in $HEED_HOME/results, one small JSON file a key.
#pragma once

#include <optional>
#include <string>

#include "heed/status.h"

namespace heed::eval {

// A word that changes with every build of this program: results of other code do not count.
Result<std::string> program_revision();

// Empty when nothing is kept under the key, or what is there cannot be read.
std::optional<double> kept_result(const std::string& key);

// Written beside and renamed, so a reader never sees half a file.
Status keep_result(const std::string& key, double value);

}  // namespace heed::eval
