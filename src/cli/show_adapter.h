// What `heed show` says of a LoRA adapter's file.
#pragma once

#include <string>

#include "heed/status.h"

namespace heed::cli {

// `targets`: the adapted tensors too. Errors: those of inspect_adapter.
Status show_adapter(const std::string& path, bool json, bool targets);

}  // namespace heed::cli
