#include "cli/system_facts.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/text.h"
#include "session/available_memory.h"

namespace heed::cli {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// A whole number, or 0 ("max", an absent file).
uint64_t number(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Folders of this process in a controller's hierarchy, innermost first. Version 1 has a mount per
// controller, version 2 one for all; inside a container the inner path may not be visible, and then
// the mount point itself is the limit's place.
std::vector<std::string> group_folders(const std::string& controller) {
  std::ifstream in("/proc/self/cgroup");
  const std::string wanted = cat(",", controller, ",");
  std::vector<std::string> folders;
  for (std::string line; std::getline(in, line);) {
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    std::string names(1, ',');
    names.append(line, a + 1, b - a - 1).push_back(',');
    std::string root;
    if (names == ",,") root = "/sys/fs/cgroup";
    if (names.find(wanted) != std::string::npos) {
      root = cat("/sys/fs/cgroup/", line.substr(a + 1, b - a - 1));
    }
    if (root.empty()) continue;
    for (std::string path = line.substr(b + 1); path.size() > 1;
         path = path.substr(0, path.rfind('/'))) {
      folders.push_back(root + path);
    }
    folders.push_back(root);
  }
  return folders;
}

double read_cpu_quota() {
  double least = 0;
  auto take = [&least](double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    const double cores = quota / period;
    least = least == 0 ? cores : std::min(least, cores);
  };
  for (const std::string& folder : group_folders("cpu")) {
    std::istringstream two(first_line(folder + "/cpu.max"));  // version 2: "max 100000"
    std::string quota;
    double period = 0;
    if (two >> quota >> period) take(static_cast<double>(number(quota)), period);
    const std::string old = first_line(folder + "/cpu.cfs_quota_us");  // -1: no limit
    take(static_cast<double>(number(old)),
         static_cast<double>(number(first_line(folder + "/cpu.cfs_period_us"))));
  }
  return least;
}

// The word in brackets of "always [madvise] never".
std::string chosen(const std::string& line) {
  const size_t open = line.find('['), close = line.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return line.substr(open + 1, close - open - 1);
}

int allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

}  // namespace

CpuTime read_cpu_time() {
  std::istringstream words(first_line("/proc/stat"));
  std::string name;
  words >> name;
  CpuTime time;
  double value = 0;
  // user nice system idle iowait irq softirq steal; guest time behind them is counted in user.
  for (int i = 0; i < 8 && words >> value; ++i) {
    time.total += value;
    if (i == 7) time.stolen = value;
  }
  return time;
}

SystemFacts read_system_facts() {
  SystemFacts f;
  f.cpus_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  f.cpus_allowed = allowed_cpus();
  f.cpu_quota = read_cpu_quota();
  f.smt = first_line("/sys/devices/system/cpu/smt/active") == "1";
  f.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  f.memory_total = meminfo("MemTotal");
  f.memory_available = available_memory();
  const uint64_t limit = memory_limit().value_or(0);
  f.memory_limit = !f.memory_total || limit < *f.memory_total
                       ? limit
                       : 0;  // version 1 writes "none" as a huge number
  f.huge_pages = chosen(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  f.huge_reserved = meminfo("HugePages_Total").value_or(0) * meminfo("Hugepagesize").value_or(0);
  std::array<double, 1> load{};
  if (getloadavg(load.data(), 1) == 1) f.load = load[0];
  const CpuTime time = read_cpu_time();
  if (time.total > 0) f.steal = time.stolen / time.total;
  return f;
}

}  // namespace heed::cli
