// ggml and llama.cpp log to stderr unless told otherwise; heed keeps their last error for its own
// messages instead.
#pragma once

#include <string>

namespace heed {

// Idempotent; call before anything of ggml or llama.cpp.
void route_library_logs();

// The first error that ggml or llama.cpp logged on this thread since the previous call of this,
// without its line end; empty if none.
std::string take_library_error();

}  // namespace heed
