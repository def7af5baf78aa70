// Contestants of a benchmark, timed in alternating rounds: which one goes first changes from round
// to round, so that drift of the machine falls on all of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/bench_report.h"
#include "heed/engine.h"
#include "heed/status.h"

namespace heed::eval {

class Contender {
 public:
  virtual ~Contender() = default;
  virtual const char* engine() const = 0;
  virtual Status round() = 0;          // one timed round
  virtual int64_t copies() const = 0;  // problems that a round goes through
  virtual void park() = 0;             // idle threads sleep while another is timed
};

struct RoundPlan {
  std::string name;  // of the case, in messages
  int rounds = 0;    // 0: as many as fit `seconds`, kFewestRounds to kMostRounds
  double seconds = 0;
  const CancelToken* cancel = nullptr;
};
inline constexpr int kFewestRounds = 5, kMostRounds = 21;

// What each round took, in seconds a copy: [contender][round]. A round before the first warms up and
// tells how often short work is repeated in each of the others.
// The roofs in `machine` are sampled between rounds.
Result<std::vector<std::vector<double>>> alternate(std::span<Contender* const> contenders,
                                                   const RoundPlan& plan, Machine& machine);

// The largest cache of the first core, in bytes.
uint64_t last_level_cache();
// A benchmark that is to read memory goes through this many bytes, a multiple of that cache.
uint64_t uncached_bytes();

}  // namespace heed::eval
