#include "eval/machine.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "cpu/team.h"
#include "eval/memory_stream.h"
#include "eval/peer_isa.h"
#include "heed/cpu.h"
#include "kernels/kernels.h"

namespace heed::eval {
namespace {

constexpr double kRoofSeconds = 0.03;  // of one roof in one round

// The value of one line of /proc/cpuinfo, empty where the system has none such.
std::string cpuinfo(const std::string& key) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    if (name == key) return colon + 2 <= line.size() ? line.substr(colon + 2) : "";
  }
  return "";
}

// Operations per second of all threads together, in units of 1e9.
double issue_rate(cpu::Team& team, double (*loop)(int64_t)) {
  if (loop == nullptr || loop(1) == 0) return 0;
  int64_t rounds = 1 << 14;
  for (;;) {  // one thread finds out how many rounds fill the time
    const auto start = Clock::now();
    loop(rounds);
    if (seconds_since(start) >= kRoofSeconds) break;
    rounds *= 2;
  }
  std::vector<double> operations(static_cast<size_t>(team.size()));
  const auto start = Clock::now();
  team.run([&](int member, int) { operations[static_cast<size_t>(member)] = loop(rounds); });
  const double seconds = seconds_since(start);
  double sum = 0;
  for (const double count : operations) sum += count;
  return sum / seconds * 1e-9;
}

}  // namespace

Result<Machine> describe_machine(int threads) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  Machine machine;
  machine.cpu = cpuinfo("model name");
  if (machine.cpu.empty()) machine.cpu = "unknown";
  machine.family = cpuinfo("cpu family") + "." + cpuinfo("model");
  if (machine.family == ".") machine.family = "unknown";
  machine.isa = isa_name(isa);
  machine.ggml = isa_name(peer_isa());
  machine.threads = threads;
  return machine;
}

namespace {

Status measure_round(Machine& machine) {
  {
    cpu::Team team(machine.threads);
    const kernels::Table* last = nullptr;
    // The roofs are the processor's: an instruction set that HEED_ISA leaves out still counts.
    for (int i = 0; i < kIsaCount; ++i) {
      const Isa isa = static_cast<Isa>(i);
      if (!isa_supported(isa) || &kernels::table(isa) == last) continue;  // some share a table
      last = &kernels::table(isa);
      machine.fp32_gflops = std::max(machine.fp32_gflops, issue_rate(team, last->fma_loop));
      machine.bf16_gflops = std::max(machine.bf16_gflops, issue_rate(team, last->bf16_loop));
      if (!kernels::has_int8_dot(isa)) continue;
      machine.int8_gops = std::max(machine.int8_gops, issue_rate(team, last->int8_loop));
    }
  }
  MemoryStream stream(machine.threads);
  HEED_TRY(stream.prepare());
  for (int round = 0; round < 2; ++round) {
    machine.stream_gbps = std::max(machine.stream_gbps, stream.gbps());
  }
  return Status::ok();
}

}  // namespace

Status measure_roofs(Machine& machine) {
  return guarded("measuring the roofs", [&] { return measure_round(machine); });
}

}  // namespace heed::eval
