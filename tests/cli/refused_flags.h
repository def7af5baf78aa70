// Lines of `heed run` that are refused before a model is looked for.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "process.h"

namespace heed::test {

struct RefusedFlags {
  std::vector<std::string> flags;
  const char* needle;  // in the message
};

inline void expect_refused(std::span<const RefusedFlags> lines) {
  for (const RefusedFlags& bad : lines) {
    std::vector<std::string> line = {"run", "-m", "no-such-file.gguf", "-p", "x"};
    line.insert(line.end(), bad.flags.begin(), bad.flags.end());
    const Finished f = heed(line);
    EXPECT_EQ(f.code, 2) << bad.needle << ": " << f.err;
    EXPECT_NE(f.err.find(bad.needle), std::string::npos) << f.err;
  }
}

}  // namespace heed::test
