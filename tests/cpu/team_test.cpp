// The barrier separates phases and survives reuse, also with more threads than cores; a team runs
// every member once a round.
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "cpu/team.h"

namespace heed::cpu {
namespace {

TEST(Team, every_member_runs_once_a_round) {
  for (int size : {1, 2, 3, 8}) {
    Team team(size);
    std::vector<std::atomic<int>> calls(static_cast<size_t>(size));
    for (int round = 0; round < 200; ++round) {
      team.run([&](int member, int members) {
        EXPECT_EQ(members, size);
        calls[static_cast<size_t>(member)].fetch_add(1);
      });
      for (const auto& c : calls) ASSERT_EQ(c.load(), round + 1);
    }
  }
}

// Each phase writes what the phase before left; a barrier that lets one thread through early loses
// an update, because the counters are plain ints.
TEST(Barrier, phases_do_not_overlap_when_the_barrier_is_used_again_at_once) {
  for (int size : {2, 3, 8}) {
    Team team(size);
    Barrier barrier;
    std::vector<int> turn(static_cast<size_t>(size), 0);
    std::atomic<int> faults{0};
    constexpr int kPhases = 500;
    team.run([&](int member, int members) {
      for (int phase = 0; phase < kPhases; ++phase) {
        turn[static_cast<size_t>(member)] = phase + 1;
        barrier.wait(members);
        for (int t : turn) {
          if (t != phase + 1) faults.fetch_add(1);
        }
        barrier.wait(members);
      }
    });
    EXPECT_EQ(faults.load(), 0);
    for (int t : turn) EXPECT_EQ(t, kPhases);
  }
}

TEST(Barrier, one_thread_passes_at_once) {
  Barrier barrier;
  barrier.wait(1);
  barrier.wait(1);
}

}  // namespace
}  // namespace heed::cpu
