// Reading memory by all threads: the roof of whatever comes from there.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "cpu/team.h"
#include "eval/contender.h"
#include "kernels/kernels.h"

namespace heed::eval {

// As a contestant it takes its turn beside what reads memory, for on a shared machine memory gives
// half as much in one round as in the next.
class MemoryStream : public Contender {
 public:
  // Read by the widest vectors of this processor: the roof is the machine's, whatever HEED_ISA says.
  explicit MemoryStream(int threads);

  // Errors: memory or threads.
  Status prepare();
  static uint64_t bytes_of(int threads);
  uint64_t bytes() const { return bytes_of(team_.size()); }
  double gbps();  // of one round

  const char* engine() const override { return "memory"; }
  Status round() override;
  int64_t copies() const override { return 1; }
  void park() override {}  // the team sleeps of its own accord

 private:
  const kernels::Table& table_;
  cpu::Team team_;
  AlignedMemory data_;
  std::vector<uint32_t> any_;  // of each thread: what keeps its loads alive
};

}  // namespace heed::eval
