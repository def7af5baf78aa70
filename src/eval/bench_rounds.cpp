#include "eval/bench_rounds.h"

#include <algorithm>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "eval/statistics.h"

namespace heed::eval {
namespace {

constexpr int64_t kWarmTokens = 512;       // a graph of the full chunk size
constexpr uint64_t kTokenStream = 0x6265;  // any fixed stream

Status work(BenchEngine& engine, const BenchTest& test, std::span<const Token> tokens) {
  const auto part = tokens.subspan(static_cast<size_t>(test.depth), static_cast<size_t>(test.n));
  if (!test.generate) return engine.prefill(part);
  for (const Token token : part) HEED_TRY(engine.decode(token));
  return Status::ok();
}

// Back to `depth` tokens.
Status rewind(BenchEngine& engine, int64_t depth) {
  return depth == 0 ? engine.clear() : engine.truncate(depth);
}

// Caches, graphs and pages of the test's kind, on a short piece where the test is long.
Status warm(BenchEngine& engine, const BenchTest& test, std::span<const Token> tokens) {
  BenchTest brief = test;
  brief.n = std::min(test.n, test.generate ? int64_t{4} : kWarmTokens);
  HEED_TRY(work(engine, brief, tokens));
  HEED_TRY(rewind(engine, test.depth));
  engine.take_attention_s();
  return Status::ok();
}

Status time_once(BenchEngine& engine, const BenchTest& test, std::span<const Token> tokens,
                 EngineRounds& rounds) {
  const auto start = Clock::now();
  HEED_TRY(work(engine, test, tokens));
  rounds.seconds.push_back(seconds_since(start));
  engine.park();
  const double attention = engine.take_attention_s();
  if (attention >= 0) rounds.attention_s.push_back(attention);
  rounds.kv_bytes = engine.kv_bytes();
  HEED_TRY(rewind(engine, test.depth));
  engine.park();
  return Status::ok();
}

}  // namespace

std::string BenchTest::name() const { return cat(generate ? "tg" : "pp", n); }

int default_rounds(const BenchTest& test) {
  // What a round costs: a prompt grows with its end; a generation re-reads its depth n times.
  if (test.generate) return test.depth <= 4096 ? 9 : test.depth <= 16384 ? 5 : 3;
  if (test.end() <= 1024) return 9;
  if (test.end() <= 4096) return 5;
  return test.end() <= 16384 ? 3 : 1;
}

std::vector<Token> bench_tokens(int vocab, int64_t n) {
  std::vector<Token> tokens(static_cast<size_t>(n));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<Token>(random_below(kTokenStream, i, static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

Result<std::vector<EngineRounds>> run_rounds(const BenchTest& test,
                                             std::span<const std::unique_ptr<BenchEngine>> engines,
                                             std::span<const Token> tokens, int64_t held,
                                             int rounds,
                                             const std::function<void(const std::string&)>& say) {
  std::vector<EngineRounds> result(engines.size());
  for (const auto& engine : engines) {
    if (held < test.depth) {
      if (say)
        say(cat("filling ", test.depth, " tokens of ", engine->name(), " for ", test.name()));
      const auto missing =
          tokens.subspan(static_cast<size_t>(held), static_cast<size_t>(test.depth - held));
      HEED_TRY(engine->prefill(missing));
    } else {
      HEED_TRY(rewind(*engine, test.depth));
    }
    HEED_TRY(warm(*engine, test, tokens));
    engine->park();
  }
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < engines.size(); ++i) {
      const size_t e = round % 2 == 0 ? i : engines.size() - 1 - i;
      HEED_TRY(time_once(*engines[e], test, tokens, result[e]));
      if (say) {
        say(cat(test.name(), " at depth ", test.depth, ", round ", round + 1, " of ", rounds, ": ",
                engines[e]->name(), " ", static_cast<double>(test.n) / result[e].seconds.back(),
                " tokens/s"));
      }
    }
  }
  return result;
}

}  // namespace heed::eval
