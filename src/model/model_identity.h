// Which model a file holds, by every byte of it: what saved sessions are bound to.
#pragma once

#include <string>

#include "heed/status.h"
#include "model/gguf_file.h"

namespace heed {

// 32 hexadecimal digits. Files of more than some MiB are hashed once per state of theirs (device,
// inode, size, times): the result is kept in $HEED_HOME/hashes, and where that cannot be written
// hashed again. Errors: the file changed since it was opened, or cannot be read.
Result<std::string> model_identity(const GgufFile& file);

}  // namespace heed
