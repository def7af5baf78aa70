// One benchmark test as paired rounds: every round times each engine once on the same tokens, and
// which one goes first changes from round to round, so that drift of the machine falls on both.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/bench_engine.h"

namespace heed::eval {

struct BenchTest {
  bool generate = false;  // tg: n tokens one by one; pp: n tokens as a prompt
  int64_t n = 0;
  int64_t depth = 0;  // tokens already held

  std::string name() const;                  // "pp512", "tg32"
  int64_t end() const { return depth + n; }  // positions that it reaches
};

// Rounds by default: short tests vary more and cost less. One round at 32K and beyond.
int default_rounds(const BenchTest& test);

struct EngineRounds {
  std::vector<double> seconds;      // one a round
  std::vector<double> attention_s;  // one a round; empty where the engine does not tell
  uint64_t kv_bytes = 0;            // at the end of the test
};

// Token i of the benchmark: uniform over the vocabulary (dense attention does the same work for any
// tokens), the same in every round and engine.
std::vector<Token> bench_tokens(int vocab, int64_t n);

// Timed rounds of `test`. The engines must hold at most test.depth of `tokens` (what they hold is
// kept and extended); afterwards they hold exactly test.depth.
Result<std::vector<EngineRounds>> run_rounds(const BenchTest& test,
                                             std::span<const std::unique_ptr<BenchEngine>> engines,
                                             std::span<const Token> tokens, int64_t held,
                                             int rounds,
                                             const std::function<void(const std::string&)>& say);

}  // namespace heed::eval
