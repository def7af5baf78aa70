// The machine block of every benchmark: what it is and what its own loops reach.
#pragma once

#include "eval/bench_report.h"
#include "heed/status.h"

namespace heed::eval {

// Name, family, instruction set; rates still 0. Errors: HEED_ISA names something impossible.
Result<Machine> describe_machine(int threads);

// One round of the roof loops, about a quarter of a second; `machine` keeps the maximum of all
// rounds so far, because interference only ever lowers a round. Errors: memory or threads.
Status measure_roofs(Machine& machine);

}  // namespace heed::eval
