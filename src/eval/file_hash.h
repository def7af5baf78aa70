// SHA-256 of a file, by which results are keyed.
#pragma once

#include <string>

#include "heed/engine.h"
#include "heed/status.h"

namespace heed::eval {

// 64 lower-case hexadecimal digits.
Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel);

}  // namespace heed::eval
