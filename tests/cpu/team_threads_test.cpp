// A team that the system gives no thread is an exception, not the end of the process.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "cpu/team.h"

namespace heed::cpu {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Stacks of 1 GiB and room for one and a half.
[[noreturn]] void create_with_room_for_one_thread() {
  long pages = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  constexpr size_t kStack = size_t{1} << 30;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_setattr_default_np(&attributes);
  const rlim_t room = static_cast<rlim_t>(pages) * 4096 + kStack + kStack / 2;
  const rlimit limit{room, room};
  setrlimit(RLIMIT_AS, &limit);
  try {
    Team team(4);
  } catch (const std::system_error&) {
    std::_Exit(7);
  }
  std::_Exit(0);
}

TEST(Team, throws_and_leaves_no_thread_behind_when_the_system_refuses_one) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(create_with_room_for_one_thread(), ::testing::ExitedWithCode(7), "");
}
#endif

}  // namespace
}  // namespace heed::cpu
