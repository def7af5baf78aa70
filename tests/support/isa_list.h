// The instruction sets that tests run on: all that this machine has, or the one that HEED_ISA or
// HEED_FORCE_CPU_ISA names.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "heed/cpu.h"
#include "kernels/kernels.h"

namespace heed::test {

// Ends the program when a variable names what this machine cannot run: an empty list would let
// every test that loops over it pass.
inline std::vector<Isa> tested_product_isas() {
  for (const char* variable : {"HEED_ISA", "HEED_FORCE_CPU_ISA"}) {
    const char* text = std::getenv(variable);
    if (text == nullptr || *text == '\0') continue;
    const Result<Isa> forced = choose_isa();
    if (forced.is_ok()) return {*forced};
    std::fprintf(stderr, "%s\n", forced.message().c_str());
    std::abort();
  }
  std::vector<Isa> all;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_supported(static_cast<Isa>(i))) all.push_back(static_cast<Isa>(i));
  }
  return all;
}

// For tests of attention: without those that attend with the kernels of one before.
inline std::vector<Isa> tested_isas() {
  std::vector<Isa> distinct;
  for (const Isa isa : tested_product_isas()) {
    if (!distinct.empty() && &kernels::table(isa) == &kernels::table(distinct.back())) continue;
    distinct.push_back(isa);
  }
  return distinct;
}

}  // namespace heed::test
