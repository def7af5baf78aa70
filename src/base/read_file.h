// A whole file or stream as text.
#pragma once

#include <string>

#include "heed/status.h"

namespace heed {

// Errors: kNotFound when it cannot be opened, kIo when it cannot be read (a folder), kOutOfRange
// above 1 GiB; all start with `name`.
Result<std::string> read_file(const std::string& path, const std::string& name);
// From an open descriptor to its end.
Result<std::string> read_all(int fd, const std::string& name);

}  // namespace heed
