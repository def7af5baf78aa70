// Whether the tests of `heed bench -m` fit in memory: asked before anything is loaded, and again
// when llama.cpp's fastest configuration is known.
#pragma once

#include <span>

#include "eval/bench_model.h"
#include "eval/llama_baseline.h"

namespace heed::eval {

// The furthest position that a test reaches.
int64_t last_position(std::span<const BenchTest> tests);

// Everything from nothing: heed, both of llama.cpp's models while the fastest is chosen, and the
// longest test with llama.cpp's own defaults (or the named baseline).
Status check_bench_memory(const BenchOptions& options, std::span<const BenchTest> tests);

// What the longest test takes beyond the loaded models, llama.cpp as it was chosen.
Status check_test_memory(const BenchOptions& options, std::span<const BenchTest> tests,
                         std::span<const LlamaOptions> peers);

}  // namespace heed::eval
