// llama.cpp on the prompt that heed answered.
#pragma once

#include <span>
#include <string>

#include "cli/run_report.h"
#include "heed/generate.h"

namespace heed::cli {

// llama.cpp as its own tools run it by default (flash attention, repacked weights, f16 KV), with
// heed's chunk and thread count, and the same sampler, adapters and control vector (`adaptation`
// may be null).
Result<EngineRun> run_llama(const Model& model, std::span<const Token> prompt,
                            const RunOptions& options, const Adaptation* adaptation, int threads,
                            ProgressLine::Mode progress);

}  // namespace heed::cli
