// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "session/control_groups.h"

namespace heed {

// Bytes: what the kernel calls available, or what is left below the tightest control group (v1 or
// v2), whichever is less. 0: nothing is left. Nothing when the system tells neither.
std::optional<uint64_t> available_memory(const GroupPaths& paths = {});
// Tests: what available_memory() says while this lives. One at a time.
class ScopedAvailableMemory {
 public:
  explicit ScopedAvailableMemory(std::optional<uint64_t> bytes);
  ~ScopedAvailableMemory();
  ScopedAvailableMemory(const ScopedAvailableMemory&) = delete;
  ScopedAvailableMemory& operator=(const ScopedAvailableMemory&) = delete;

 private:
  std::optional<uint64_t> bytes_;
};
// The tightest limit of this process's control groups, when one is set.
std::optional<uint64_t> memory_limit(const GroupPaths& paths = {});
// A number of /proc/meminfo ("MemTotal"); sizes in bytes. Nothing when there is no such line.
std::optional<uint64_t> meminfo(const std::string& key);

}  // namespace heed
