// SHA-256 of a file: what verifies a download and what results are keyed by.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "heed/engine.h"
#include "heed/status.h"

namespace heed {

// 64 lower-case hexadecimal digits. `progress` gets the bytes read so far.
Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel,
                                const std::function<void(uint64_t done)>& progress = {});

}  // namespace heed
