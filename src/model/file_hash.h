// SHA-256 of files: what verifies a download and what results are keyed by.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "heed/model.h"
#include "heed/status.h"

namespace heed {

// 64 lower-case hexadecimal digits. `progress` gets the bytes read so far.
Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel,
                                const std::function<void(uint64_t done)>& progress = {});

// Of a model: its file's, or that of the parts of a split one behind each other. `path` may name
// any part.
Result<std::string> model_sha256(const std::string& path, const CancelToken* cancel);

}  // namespace heed
