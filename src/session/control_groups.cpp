#include "session/control_groups.h"

#include <fstream>

namespace heed {
namespace {

bool lists(const std::string& controllers, const std::string& one) {  // "cpu,cpuacct"
  return ("," + controllers + ",").find("," + one + ",") != std::string::npos;
}

}  // namespace

std::vector<GroupFolder> group_folders(const std::string& controller, const GroupPaths& paths) {
  std::ifstream in(paths.membership);
  std::vector<GroupFolder> folders;
  for (std::string line; std::getline(in, line);) {  // "4:cpu,cpuacct:/a/b", version 2: "0::/a/b"
    const size_t a = line.find(':');
    const size_t b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    const int version = controllers.empty() ? 2 : 1;
    if (version == 1 && !lists(controllers, controller)) continue;
    const std::string root = version == 2 ? paths.mount : paths.mount + "/" + controllers;
    for (std::string path = line.substr(b + 1); path.size() > 1;
         path = path.substr(0, path.rfind('/'))) {
      folders.push_back({root + path, version});
    }
    folders.push_back({root, version});
  }
  // Some containers hide the membership.
  if (folders.empty()) folders = {{paths.mount, 2}, {paths.mount + "/" + controller, 1}};
  return folders;
}

}  // namespace heed
