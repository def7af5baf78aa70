// Which keys of an architecture's section heed reads, and which it may pass over. Everything else
// is refused: a key heed does not know may change the mathematics.
#pragma once

#include "heed/status.h"
#include "model/architecture.h"
#include "model/gguf_file.h"

namespace heed {

Status check_keys(const GgufFile& file, const Architecture& arch);

}  // namespace heed
