// heed on a disk that is full, or what comes to the same errors: a limit on the size of its files.
#pragma once

#include <sys/resource.h>

#include <optional>

#include "process.h"

namespace heed::test {

// Only what heed itself writes is limited: this process has its limit back when heed runs.
inline Finished heed_with_file_limit(const std::vector<std::string>& words, uint64_t bytes,
                                     const Process::Options& options = {}) {
  rlimit before{};
  EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{bytes, before.rlim_max};
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::optional<Process> process(std::in_place, words, options);
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  return process->finish();
}

}  // namespace heed::test
