// The name people call a quantised file by: "Q4_K_M".
#pragma once

#include <string>

#include "model/gguf_file.h"

namespace heed {

// From general.file_type; where that is absent or unknown, the type that most elements have.
std::string file_type_name(const GgufFile& file);

}  // namespace heed
