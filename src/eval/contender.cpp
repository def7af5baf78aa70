#include "eval/contender.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/clock.h"
#include "base/text.h"
#include "eval/machine.h"

namespace heed::eval {
namespace {

// A contestant works at least so long at a time: what is shorter is a matter of one interrupt.
constexpr double kWorkSeconds = 0.005;
constexpr double kMostRepeats = 1000;

constexpr uint64_t kCaches = 16;  // last-level caches that a case goes through
constexpr uint64_t kAssumedCache = uint64_t{32} << 20;  // where the system does not tell

class Alternation {
 public:
  Alternation(std::span<Contender* const> contenders, const RoundPlan& plan)
      : contenders_(contenders), plan_(plan), seconds_(contenders.size()) {}

  // One round of all; `backwards` starts with the last. Seconds of the whole round.
  Result<double> round(bool backwards, bool keep) {
    double sum = 0;
    for (size_t i = 0; i < contenders_.size(); ++i) {
      if (plan_.cancel != nullptr && plan_.cancel->cancelled()) {
        return error(Code::kCancelled, "cancelled at ", plan_.name);
      }
      const size_t at = backwards ? contenders_.size() - 1 - i : i;
      Contender& one = *contenders_[at];
      const auto start = Clock::now();
      for (int j = 0; j < repeats_; ++j) HEED_TRY(one.round());
      const double seconds = seconds_since(start);
      one.park();
      sum += seconds;
      shortest_ = std::min(shortest_, seconds);
      if (keep) seconds_[at].push_back(seconds / static_cast<double>(one.copies() * repeats_));
    }
    return sum;
  }

  // After a round that took `seconds`: how often each repeats its work in a round; what such a
  // round of all takes.
  double repeat_after(double seconds) {
    repeats_ = static_cast<int>(
        std::clamp(std::ceil(kWorkSeconds / std::max(shortest_, 1e-9)), 1.0, kMostRepeats));
    return seconds * repeats_;
  }

  int rounds_after(double warm_seconds) const {
    if (plan_.rounds > 0) return plan_.rounds;
    const double fit = plan_.seconds / std::max(warm_seconds, 1e-9);
    return static_cast<int>(std::clamp<double>(std::floor(fit), kFewestRounds, kMostRounds));
  }

  std::vector<std::vector<double>> take() { return std::move(seconds_); }

 private:
  std::span<Contender* const> contenders_;
  const RoundPlan& plan_;
  std::vector<std::vector<double>> seconds_;
  int repeats_ = 1;
  double shortest_ = INFINITY;
};

}  // namespace

Result<std::vector<std::vector<double>>> alternate(std::span<Contender* const> contenders,
                                                   const RoundPlan& plan, Machine& machine) {
  Alternation alternation(contenders, plan);
  HEED_ASSIGN(const double warm, alternation.round(true, false));
  const int rounds = alternation.rounds_after(alternation.repeat_after(warm));
  for (int i = 0; i < rounds; ++i) {
    HEED_TRY(alternation.round(i % 2 == 1, true).status());
    if (i == 0 || i == rounds / 2) HEED_TRY(measure_roofs(machine));
  }
  return alternation.take();
}

uint64_t last_level_cache() {
  uint64_t largest = 0;
  for (int i = 0; i < 8; ++i) {
    std::ifstream in(cat("/sys/devices/system/cpu/cpu0/cache/index", i, "/size"));
    uint64_t size = 0;
    char unit = 0;
    if (in >> size) in >> unit;
    largest = std::max(largest, size << (unit == 'M' ? 20 : unit == 'K' ? 10 : 0));
  }
  return largest > 0 ? largest : kAssumedCache;
}

uint64_t uncached_bytes() { return kCaches * last_level_cache(); }

}  // namespace heed::eval
