// More threads than cores: a step then goes on as soon as the thread that all wait for has a core.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>

#include "base/clock.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

// This thread, and those that it starts, on at most `count` cores while this lives.
class ScopedCores {
 public:
  explicit ScopedCores(int count) {
    EXPECT_EQ(::sched_getaffinity(0, sizeof(before_), &before_), 0);
    cpu_set_t few;
    CPU_ZERO(&few);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&few) < count; ++cpu) {
      if (CPU_ISSET(cpu, &before_)) CPU_SET(cpu, &few);
    }
    EXPECT_EQ(::sched_setaffinity(0, sizeof(few), &few), 0);
  }
  ~ScopedCores() { ::sched_setaffinity(0, sizeof(before_), &before_); }
  ScopedCores(const ScopedCores&) = delete;
  ScopedCores& operator=(const ScopedCores&) = delete;

 private:
  cpu_set_t before_;
};

// A step of this model has some fifty nodes and a wait behind each. If waiting threads held their
// cores until time slices end (3 ms and more), the shortest step would take hundreds of
// milliseconds; with waits that yield it takes a few. The shortest of many, because whatever else
// runs on the machine adds to the others.
TEST(Threads, beyond_the_cores_do_not_wait_for_time_slices) {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorQ4_0;
  const tiny::TemporaryFile file(spec);
  const ScopedCores two(2);
  const auto engine = test::make_engine(file.path(), {}, 8);
  ASSERT_NE(engine, nullptr);
  const SeqId seq = test::prefilled(*engine, {1, 2, 3});
  double shortest = 1e9;
  for (int i = 0; i < 30 && !HasFailure(); ++i) {
    const Clock::time_point start = Clock::now();
    test::step(*engine, seq, i);
    shortest = std::min(shortest, seconds_since(start));
  }
  RecordProperty("shortest_ms", std::to_string(shortest * 1e3));
  EXPECT_LT(shortest, 0.1);
}

}  // namespace
}  // namespace heed
