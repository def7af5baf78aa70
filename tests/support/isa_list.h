// The instruction sets that tests run on: all that this machine has, or the one that HEED_ISA
// names.
#pragma once

#include <cstdlib>
#include <vector>

#include "heed/cpu.h"

namespace heed::test {

inline std::vector<Isa> tested_isas() {
  if (std::getenv("HEED_ISA") != nullptr) {
    const Result<Isa> forced = choose_isa();
    if (forced.is_ok()) return {*forced};
    return {};  // cpu_test says why
  }
  std::vector<Isa> all;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_supported(static_cast<Isa>(i))) all.push_back(static_cast<Isa>(i));
  }
  return all;
}

}  // namespace heed::test
