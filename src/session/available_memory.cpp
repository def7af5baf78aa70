#include "session/available_memory.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace heed {
namespace {

std::optional<uint64_t> file_number(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  uint64_t value = 0;
  if (!(in >> text)) return {};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size()) return {};  // "max": no limit
  return value;
}

// A group's memory.stat line, such as "inactive_file 4096".
uint64_t group_stat(const std::string& folder, const std::string& key) {
  std::ifstream in(folder + "/memory.stat");
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == key) return value;
  }
  return 0;
}

struct GroupFiles {
  int version;
  const char* limit;
  const char* usage;
  const char* droppable;  // of memory.stat: file pages that count as free
};
// Beyond memory.high the kernel does not kill, it slows the process down until it seems to hang.
constexpr GroupFiles kGroupFiles[] = {
    {2, "/memory.max", "/memory.current", "inactive_file"},
    {2, "/memory.high", "/memory.current", "inactive_file"},
    {1, "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"}};

// What is left in one group.
std::optional<uint64_t> group_left(const std::string& folder, const GroupFiles& files) {
  const auto limit = file_number(folder + files.limit);
  const auto usage = file_number(folder + files.usage);
  if (!limit || !usage) return {};
  const uint64_t used = *usage - std::min(*usage, group_stat(folder, files.droppable));
  return *limit - std::min(*limit, used);
}

std::optional<uint64_t> smaller(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  return a && b ? std::min(*a, *b) : a ? a : b;
}

std::atomic<const std::optional<uint64_t>*> pretended{nullptr};

}  // namespace

ScopedAvailableMemory::ScopedAvailableMemory(std::optional<uint64_t> bytes) : bytes_(bytes) {
  pretended.store(&bytes_);
}
ScopedAvailableMemory::~ScopedAvailableMemory() { pretended.store(nullptr); }

std::optional<uint64_t> meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  uint64_t value = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    if (!(words >> name >> value) || name != key + ":") continue;
    return words >> unit && unit == "kB" ? value * 1024 : value;
  }
  return {};
}

std::optional<uint64_t> memory_limit(const GroupPaths& paths) {
  std::optional<uint64_t> least;
  for (const auto& [folder, version] : group_folders("memory", paths)) {
    for (const GroupFiles& files : kGroupFiles) {
      if (files.version == version) least = smaller(least, file_number(folder + files.limit));
    }
  }
  return least;
}

std::optional<uint64_t> available_memory(const GroupPaths& paths) {
  if (const auto* bytes = pretended.load()) return *bytes;
  std::optional<uint64_t> left = meminfo("MemAvailable");
  for (const auto& [folder, version] : group_folders("memory", paths)) {
    for (const GroupFiles& files : kGroupFiles) {
      if (files.version == version) left = smaller(left, group_left(folder, files));
    }
  }
  return left;
}

}  // namespace heed
