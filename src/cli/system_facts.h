// What the operating system grants this process: cores, quota, memory, pages, disturbance.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace heed::cli {

struct SystemFacts {
  int cpus_online = 0;
  int cpus_allowed = 0;  // by affinity
  double cpu_quota = 0;  // cores' worth of time a control group grants; 0: no limit
  bool smt = false;      // two hardware threads a core are in use
  std::string governor;  // of frequency; empty where the system does not tell (virtual machines)
  std::optional<uint64_t> memory_total;      // of the machine
  uint64_t memory_limit = 0;                 // of the control group; 0: no limit
  std::optional<uint64_t> memory_available;  // that this process may still take under both
  std::string huge_pages;      // transparent_hugepage: "always", "madvise", "never"; empty: unknown
  uint64_t huge_reserved = 0;  // explicit huge pages, bytes
  double load = 0;             // processes that wanted to run in the last minute, on average
  double steal = 0;            // share of time since boot that the hypervisor took away
};

SystemFacts read_system_facts();

// Jiffies of all processors so far, and those of them that were stolen.
struct CpuTime {
  double total = 0, stolen = 0;
};
CpuTime read_cpu_time();

}  // namespace heed::cli
