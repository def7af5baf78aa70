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
#include "session/control_groups.h"

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

double read_cpu_quota() {
  double least = 0;
  auto take = [&least](double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    const double cores = quota / period;
    least = least == 0 ? cores : std::min(least, cores);
  };
  for (const auto& [folder, version] : group_folders("cpu")) {
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
