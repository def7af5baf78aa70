#include "eval/bench_memory.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "eval/baseline_choice.h"
#include "eval/llama_memory.h"
#include "eval/memory_check.h"

namespace heed::eval {
namespace {

Result<MemoryPlan> heed_plan(const BenchOptions& options, int64_t end) {
  ModelOptions load;
  load.threads = options.threads;
  load.linear = options.linear;
  EngineOptions engine = options.engine;
  engine.context = end;
  engine.beyond_context = true;
  engine.max_sequences = 1;
  const std::vector<std::string> loras = options.adapters.lora_paths();
  return predict_memory(
      options.model, load, engine,
      {.prompt = end, .loras = loras, .control_vector = options.adapters.steers()});
}

Result<uint64_t> largest_context(const std::string& model, std::span<const LlamaOptions> options) {
  uint64_t largest = 0;
  for (const LlamaOptions& one : options) {
    HEED_ASSIGN(const LlamaMemory memory, predict_llama_memory(model, one));
    largest = std::max(largest, memory.of_context());
  }
  return largest;
}

// While the fastest is chosen, both of llama.cpp's models are loaded and heed's sequence is empty.
Status check_choice(const BenchOptions& options, const MemoryPlan& heed) {
  const std::vector<LlamaOptions> trials = baseline_trials(kQuickTokens, 1);
  std::vector<MemoryNeed> needs{{"heed's model", heed.peak - heed.kv}};
  uint64_t context = 0;
  for (const bool repack : {true, false}) {
    std::vector<LlamaOptions> some;
    for (LlamaOptions trial : trials) {
      trial.context = kQuickTokens;
      trial.loras = options.adapters.loras;
      if (trial.repack == repack) some.push_back(trial);
    }
    HEED_ASSIGN(const auto memory, predict_llama_memory(options.model, some));
    for (const LlamaMemory& one : memory) context = std::max(context, one.of_context());
    needs.push_back({repack ? "llama.cpp repacked" : "llama.cpp as stored", memory[0].weights});
  }
  needs.push_back({"llama.cpp's largest context", context});
  return check_memory("choosing the fastest llama.cpp", needs,
                      "name one (--baseline flash=on) or leave --compare out");
}

// The peer is only in it where heed alone fits.
Result<std::vector<MemoryNeed>> needs_of(const BenchOptions& options, int64_t end) {
  HEED_ASSIGN(const MemoryPlan heed, heed_plan(options, end));
  std::vector<MemoryNeed> needs{{"heed", heed.peak}};
  if (!options.compare_llama || !fits_in_memory(needs)) return needs;
  LlamaOptions llama = options.baseline.value_or(LlamaOptions{});
  llama.context = end;
  llama.loras = options.adapters.loras;
  HEED_ASSIGN(const LlamaMemory memory, predict_llama_memory(options.model, llama));
  needs.push_back({"llama.cpp", memory.total()});
  return needs;
}

}  // namespace

int64_t last_position(std::span<const BenchTest> tests) {
  int64_t end = 0;
  for (const BenchTest& test : tests) end = std::max(end, test.end());
  return end;
}

Status check_bench_memory(const BenchOptions& options, std::span<const BenchTest> tests) {
  const int64_t end = last_position(tests);
  HEED_ASSIGN(const auto needs, needs_of(options, end));
  const bool alone_fits = needs.size() > 1;
  std::string way_out = alone_fits ? "leave --compare out or take a smaller model"
                                   : "take a smaller model or free memory";
  if (!fits_in_memory(needs)) {
    for (int64_t shorter = end / 2; shorter >= 1; shorter /= 2) {
      HEED_ASSIGN(const auto fewer, needs_of(options, shorter));
      if (!fits_in_memory(fewer)) continue;
      way_out = cat("tests that reach ", shorter, " tokens fit: shorten -p and -d",
                    alone_fits ? " or leave --compare out" : "");
      break;
    }
  }
  HEED_TRY(check_memory(cat("tests that reach ", end, " tokens"), needs, way_out, options.say));
  if (!options.compare_llama || options.baseline) return Status::ok();
  HEED_ASSIGN(const MemoryPlan heed, heed_plan(options, end));
  return check_choice(options, heed);
}

Status check_test_memory(const BenchOptions& options, std::span<const BenchTest> tests,
                         std::span<const LlamaOptions> peers) {
  const int64_t end = last_position(tests);
  HEED_ASSIGN(const MemoryPlan heed, heed_plan(options, end));
  std::vector<LlamaOptions> at_end(peers.begin(), peers.end());
  for (LlamaOptions& peer : at_end) peer.context = end;
  HEED_ASSIGN(const uint64_t context, largest_context(options.model, at_end));
  const MemoryNeed needs[] = {{"heed's keys, values and graphs", heed.kv + heed.compute},
                              {"llama.cpp's context", context}};
  return check_memory(cat("tests that reach ", end, " tokens"), needs,
                      "shorten -p and -d, or name a llama.cpp that takes less "
                      "(--baseline flash=on,ubatch=512)");
}

}  // namespace heed::eval
