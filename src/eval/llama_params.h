// LlamaOptions in llama.cpp's own terms, for contexts that compute and for those that only count.
#pragma once

#include <llama.h>

#include "eval/llama_baseline.h"

namespace heed::eval {

// llama.cpp asserts on a batch above its context.
LlamaOptions within_context(LlamaOptions options);
llama_context_params context_params(const LlamaOptions& options);
// What llama.cpp said last, or that it said nothing.
std::string library_reason();

}  // namespace heed::eval
