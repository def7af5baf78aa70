// The control groups (cgroups) that this process is in.
#pragma once

#include <string>
#include <vector>

namespace heed {

// Where the system tells of them; tests have folders of their own.
struct GroupPaths {
  std::string membership = "/proc/self/cgroup";
  std::string mount = "/sys/fs/cgroup";
};

struct GroupFolder {
  std::string path;
  int version = 2;  // 1: a mount for each controller, 2: one for all
};

// Those that hold a controller's files ("memory", "cpu"), innermost first, up to the mount point:
// inside a container the inner path may be invisible, and the mount point is the limit's place.
std::vector<GroupFolder> group_folders(const std::string& controller, const GroupPaths& paths = {});

}  // namespace heed
