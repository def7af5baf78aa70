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

// What is left in one group; file pages that can be dropped count as free.
std::optional<uint64_t> group_left(const std::string& folder, const char* limit_file,
                                   const char* usage_file, const char* droppable) {
  const auto limit = file_number(folder + limit_file);
  const auto usage = file_number(folder + usage_file);
  if (!limit || !usage) return {};
  const uint64_t used = *usage - std::min(*usage, group_stat(folder, droppable));
  return *limit - std::min(*limit, used);
}

// This process's groups, innermost first, ending at the mount point (inside a container the inner
// path may be invisible and the mount point is the limit's place).
std::vector<std::string> group_folders(const std::string& controller, const std::string& root) {
  std::ifstream in("/proc/self/cgroup");
  std::vector<std::string> folders;
  for (std::string line; std::getline(in, line);) {
    const size_t a = line.find(':');
    const size_t b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos || line.substr(a + 1, b - a - 1) != controller) continue;
    for (std::string path = line.substr(b + 1); path.size() > 1;
         path = path.substr(0, path.rfind('/'))) {
      folders.push_back(root + path);
    }
  }
  folders.push_back(root);
  return folders;
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

std::optional<uint64_t> memory_limit() {
  std::optional<uint64_t> least;
  const auto take = [&least](std::optional<uint64_t> bytes) {
    if (bytes && (!least || *bytes < *least)) least = bytes;
  };
  for (const std::string& folder : group_folders("", "/sys/fs/cgroup")) {
    for (const char* file : {"/memory.max", "/memory.high"}) take(file_number(folder + file));
  }
  for (const std::string& folder : group_folders("memory", "/sys/fs/cgroup/memory")) {
    take(file_number(folder + "/memory.limit_in_bytes"));
  }
  return least;
}

std::optional<uint64_t> available_memory() {
  if (const auto* bytes = pretended.load()) return *bytes;
  std::optional<uint64_t> left = meminfo("MemAvailable");
  const auto take = [&left](std::optional<uint64_t> bytes) {
    if (bytes) left = left ? std::min(*left, *bytes) : bytes;
  };
  for (const std::string& folder : group_folders("", "/sys/fs/cgroup")) {
    take(group_left(folder, "/memory.max", "/memory.current", "inactive_file"));
  }
  for (const std::string& folder : group_folders("memory", "/sys/fs/cgroup/memory")) {
    take(group_left(folder, "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                    "total_inactive_file"));
  }
  return left;
}

}  // namespace heed
