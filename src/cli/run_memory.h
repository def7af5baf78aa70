// Whether a run fits in memory, answered before a weight is read.
#pragma once

#include <string>

#include "cli/run_options.h"
#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace heed::cli {

// llama.cpp's half of `run --compare`: what this run needs, not what the model could hold, because
// llama.cpp takes its cache at once.
eval::LlamaOptions llama_for_run(const RunOptions& options, int64_t prompt_tokens, int threads);

// The plan of the run with the exact number of prompt tokens where the bound of one a byte is too
// much; that of the draft model goes to `draft`. Errors: they do not fit, with the parts, what is
// available and the longest prompt that fits.
Result<MemoryPlan> plan_run(const std::string& path, const std::string& user,
                            const RunOptions& options, MemoryPlan* draft = nullptr);
// The same for a conversation, whose length nobody knows: as far as one chunk, and the limits of
// keys and values set.
Status plan_chat(const std::string& path, RunOptions& options);
// What keys and values may take of both models, so that an answer without a limit ends with an
// error instead of the system's out-of-memory killer.
void limit_kv(const MemoryPlan& plan, const MemoryPlan& draft, RunOptions& options);

}  // namespace heed::cli
