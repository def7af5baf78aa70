// llama.cpp writes to stderr by default. heed keeps its last complaint for error messages and
// prints nothing of it.
#pragma once

#include <string>

namespace heed {

// Takes over the logs of ggml, llama.cpp and its common code; safe to call often.
void capture_llama_log();

// The errors and warnings of this thread since the last call, one line; empty when none.
std::string take_llama_log();

}  // namespace heed
