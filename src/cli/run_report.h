// What `heed run` prints when the answer is done: the table on stderr, the JSON object on stdout.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/run_options.h"
#include "cli/run_session.h"
#include "heed/adapters.h"
#include "heed/chat.h"
#include "heed/generate.h"

namespace heed::cli {

// The figures of one engine on one prompt.
struct EngineRun {
  std::string engine;  // "heed", "llama.cpp"
  std::string config;  // one line: formats, threads, chunk
  std::string text;
  int64_t prompt_tokens = 0, generated = 0;
  int64_t reused = 0;  // of the prompt, not computed again
  double prompt_s = 0, first_token_s = 0, decode_s = 0;
  uint64_t kv_bytes = 0;
  std::optional<bool> correct;  // with --expect

  double prompt_rate() const;  // tokens a second
  double decode_rate() const;  // of the tokens behind the first
};

struct RunResult {
  ModelInfo model;
  Generation generation;           // the first one
  std::vector<Generation> others;  // with --parallel
  Report report;
  MemoryPlan plan;
  EngineOptions engine;
  std::vector<SamplingKey> recommended;  // what the file decided of the sampling
  std::shared_ptr<const Adaptation> adaptation;
  bool templated = false;
  int threads = 0;
  double load_s = 0;
  RunSession session;
  std::optional<EngineRun> peer;
  std::optional<bool> correct;
  std::optional<ChatTurn> turn;  // with --tools: the answer read as the template writes it

  EngineRun run() const;
  // Some answer was; the others may have ended before.
  bool cancelled() const;
};

// "24 tokens drafted, 18 accepted (75 %), 2.80 tokens a step"; empty where nobody guesses.
std::string draft_text(const DraftReport& draft);

void print_timings(const RunResult& result);
void print_comparison(const EngineRun& peer, const EngineRun& own);
nlohmann::ordered_json to_json(const RunResult& result);

}  // namespace heed::cli
