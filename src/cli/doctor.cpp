// heed doctor: what this machine is, what its own loops reach, and what is slow and why.
#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/parse.h"
#include "cli/system_facts.h"
#include "cli/terminal.h"
#include "cpu/features.h"
#include "eval/machine.h"
#include "heed/cpu.h"
#include "linear/unit.h"
#include "model/threads.h"

namespace heed::cli {
namespace {

struct Checkup {
  SystemFacts system;
  eval::Machine machine;
  std::vector<std::string> features;
  double steal_during = 0;  // share of the measuring time that the hypervisor took
  double roof_spread = 0;   // lowest fp32 round over the highest
  std::string products;     // what heed's own multiply in
  std::vector<std::string> findings;
};

std::vector<std::string> feature_names() {
  const cpu::Features& f = cpu::features();
  const std::pair<const char*, bool> all[] = {{"avx2", f.avx2},
                                              {"fma", f.fma},
                                              {"f16c", f.f16c},
                                              {"avx512f", f.avx512f},
                                              {"avx512dq", f.avx512dq},
                                              {"avx512bw", f.avx512bw},
                                              {"avx512vl", f.avx512vl},
                                              {"avx512_bf16", f.avx512_bf16},
                                              {"avx512_vnni", f.avx512_vnni},
                                              {"avx_vnni", f.avx_vnni}};
  std::vector<std::string> names;
  for (const auto& [name, present] : all) {
    if (present) names.emplace_back(name);
  }
  return names;
}

std::string product_units(Isa isa) {
  return cat("quantised weights as bytes by ", byte_instruction(isa), ", BF16 in ",
             product_unit_name(product_unit(isa, WeightType::kBf16)),
             " (so all with --linear accurate), F16 and F32 in fp32");
}

// Each roof is the maximum over the rounds, because a disturbance only ever lowers one.
Status measure(Checkup& c, int rounds) {
  const CpuTime before = read_cpu_time();
  double lowest = 0, highest = 0;
  for (int i = 0; i < rounds && !interrupt_token().cancelled(); ++i) {
    eval::Machine round = c.machine;
    round.fp32_gflops = round.bf16_gflops = round.int8_gops = round.stream_gbps = 0;
    HEED_TRY(eval::measure_roofs(round));
    lowest = i == 0 ? round.fp32_gflops : std::min(lowest, round.fp32_gflops);
    highest = std::max(highest, round.fp32_gflops);
    c.machine.fp32_gflops = std::max(c.machine.fp32_gflops, round.fp32_gflops);
    c.machine.bf16_gflops = std::max(c.machine.bf16_gflops, round.bf16_gflops);
    c.machine.int8_gops = std::max(c.machine.int8_gops, round.int8_gops);
    c.machine.stream_gbps = std::max(c.machine.stream_gbps, round.stream_gbps);
  }
  const CpuTime after = read_cpu_time();
  if (after.total > before.total) {
    c.steal_during = (after.stolen - before.stolen) / (after.total - before.total);
  }
  c.roof_spread = highest > 0 ? lowest / highest : 0;
  return Status::ok();
}

void find_processor(const Checkup& c, std::vector<std::string>& out) {
  const Result<Isa> isa = choose_isa();
  Isa best = Isa::kScalar;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_supported(static_cast<Isa>(i))) best = static_cast<Isa>(i);
  }
  if (isa.is_ok() && *isa != best) {
    out.push_back(cat("HEED_ISA holds heed at ", isa_name(*isa), "; this processor has ",
                      isa_name(best), ": unset it"));
  }
  if (best < Isa::kAvx512Bf16) {
    out.push_back(
        "no avx512_bf16: bf16 keys and values are widened to fp32, so attention over a "
        "prompt runs at the fp32 rate (half of the bf16 one)");
  }
  if (best < Isa::kAvx512) {
    out.push_back("no AVX-512: tiles are half as wide, at most half the rate a clock");
  }
  if (best < Isa::kAvx2) out.push_back("no AVX2: the portable kernels are many times slower");
  if (best < Isa::kAvx512Vnni) {
    out.push_back("no AVX-512 VNNI: quantised products take more instructions");
  }
  if (c.machine.bf16_gflops > 0 && c.machine.bf16_gflops < 1.5 * c.machine.fp32_gflops) {
    out.push_back(cat("bf16 products run at only ",
                      fmt::format("{:.1f}", c.machine.bf16_gflops / c.machine.fp32_gflops),
                      " times the fp32 rate here (2 is usual)"));
  }
}

void find_shares(const Checkup& c, std::vector<std::string>& out) {
  const SystemFacts& s = c.system;
  if (s.cpu_quota > 0 && s.cpu_quota < c.machine.threads) {
    out.push_back(
        fmt::format("a control group grants {:.1f} cores of time for {} threads: they are "
                    "stopped in the middle of steps; use -t {}",
                    s.cpu_quota, c.machine.threads, std::max(1, static_cast<int>(s.cpu_quota))));
  }
  if (s.cpus_allowed > 0 && s.cpus_allowed < s.cpus_online) {
    out.push_back(fmt::format("this process may use {} of {} processors (affinity)", s.cpus_allowed,
                              s.cpus_online));
  }
  if (s.smt) {
    out.push_back(
        fmt::format("two hardware threads share a core: -t {} (one a core) is often as "
                    "fast for prompts",
                    std::max(1, c.machine.threads / 2)));
  }
  if (!s.governor.empty() && s.governor == "powersave") {
    out.push_back("the frequency governor is powersave: `cpupower frequency-set -g performance`");
  }
  if (s.load > 0.5 * s.cpus_online) {
    out.push_back(
        fmt::format("other work is running (load {:.1f} on {} processors): rates here are "
                    "too low and timings not to be trusted",
                    s.load, s.cpus_online));
  }
  if (std::max(s.steal, c.steal_during) > 0.02) {
    out.push_back(
        fmt::format("the hypervisor took {:.0f} % of the time (since boot {:.0f} %): the "
                    "machine is shared",
                    100 * c.steal_during, 100 * s.steal));
  }
  if (c.roof_spread > 0 && c.roof_spread < 0.85) {
    out.push_back(
        fmt::format("the fp32 rate moved by {:.0f} % between rounds: compare only figures "
                    "of one run",
                    100 * (1 - c.roof_spread)));
  }
}

void find_memory(const Checkup& c, std::vector<std::string>& out) {
  const SystemFacts& s = c.system;
  if (s.huge_pages == "never") {
    out.push_back(
        "transparent huge pages are off: decoding over long texts misses the TLB; "
        "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`");
  }
  if (!s.memory_available) {
    out.push_back("how much memory is available is unknown: nothing is refused for lack of it");
  } else if (*s.memory_available < (uint64_t{1} << 30)) {
    out.push_back(cat("only ", bytes_text(*s.memory_available), " of memory are available"));
  }
  if (s.memory_limit > 0) {
    out.push_back(cat("a control group limits memory to ", bytes_text(s.memory_limit)));
  }
}

std::string known_text(const std::optional<uint64_t>& bytes) {
  return bytes ? bytes_text(*bytes) : "an unknown amount";
}

nlohmann::ordered_json to_json(const Checkup& c) {
  const SystemFacts& s = c.system;
  nlohmann::ordered_json out;
  out["machine"] = eval::to_json(c.machine);
  out["features"] = c.features;
  out["products"] = c.products;
  out["cores"] = {{"online", s.cpus_online},
                  {"allowed", s.cpus_allowed},
                  {"quota", s.cpu_quota},
                  {"smt", s.smt},
                  {"governor", s.governor}};
  out["memory"] = {{"total_bytes", known(s.memory_total)},
                   {"available_bytes", known(s.memory_available)},
                   {"limit_bytes", s.memory_limit},
                   {"transparent_huge_pages", s.huge_pages},
                   {"huge_pages_reserved_bytes", s.huge_reserved}};
  out["disturbance"] = {{"load", s.load},
                        {"steal_since_boot", s.steal},
                        {"steal_during", c.steal_during},
                        {"fp32_round_spread", c.roof_spread}};
  out["findings"] = c.findings;
  return out;
}

std::string rate(double value, const char* unit) {
  return value > 0 ? fmt::format("{:.0f} {}", value, unit) : std::string("none");
}

void print_text(const Checkup& c) {
  const SystemFacts& s = c.system;
  const eval::Machine& m = c.machine;
  fmt::print("processor      {} (family {})\n", printable(m.cpu), printable(m.family));
  fmt::print("instructions   {} in use, {} in ggml; offered: {}\n", m.isa, m.ggml,
             fmt::join(c.features, " "));
  fmt::print("cores          {} online, {} allowed, {}, SMT {}{}\n", s.cpus_online, s.cpus_allowed,
             s.cpu_quota > 0 ? fmt::format("quota {:.1f}", s.cpu_quota) : "no quota",
             s.smt ? "on" : "off",
             s.governor.empty() ? "" : cat(", governor ", printable(s.governor)));
  fmt::print("peaks          fp32 {}, bf16 {}, int8 {} ({} threads, the best of the rounds)\n",
             rate(m.fp32_gflops, "GFLOP/s"), rate(m.bf16_gflops, "GFLOP/s"),
             rate(m.int8_gops, "GOP/s"), m.threads);
  fmt::print("products       {}\n", c.products);
  fmt::print("memory         {} available of {}{}, reading {:.1f} GB/s\n",
             known_text(s.memory_available), known_text(s.memory_total),
             s.memory_limit > 0 ? cat(", limit ", bytes_text(s.memory_limit)) : "", m.stream_gbps);
  fmt::print("huge pages     transparent: {}, reserved: {}\n",
             s.huge_pages.empty() ? "unknown" : s.huge_pages, bytes_text(s.huge_reserved));
  fmt::print("disturbance    load {:.1f}, steal {:.1f} %\n\n", s.load, 100 * c.steal_during);
  if (c.findings.empty()) fmt::print("Nothing found that makes this machine slow.\n");
  for (const std::string& finding : c.findings) fmt::print("- {}\n", finding);
}

class DoctorVerb final : public Verb {
 public:
  const char* name() const override { return "doctor"; }
  const char* summary() const override { return "Measure this machine; say what is slow and why"; }
  const char* examples() const override {
    return "  heed doctor\n"
           "  HEED_ISA=avx2 heed doctor -o json\n";
  }

  void options(CLI::App& app) override {
    add_threads(app, threads_);
    add(app, "--rounds", rounds_, "Rounds of measuring, a quarter of a second each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json"}))
        ->capture_default_str();
  }

  int run() override {
    watch_interrupts();
    Checkup c;
    const Result<int> threads = resolve_threads(threads_);
    if (!threads.is_ok()) return fail(threads.status());
    Result<eval::Machine> machine = eval::describe_machine(*threads);
    if (!machine.is_ok()) return fail(machine.status());
    c.machine = std::move(*machine);
    c.system = read_system_facts();
    c.features = feature_names();
    if (const Result<Isa> isa = choose_isa(); isa.is_ok()) c.products = product_units(*isa);
    if (const Status measured = measure(c, rounds_); !measured.is_ok()) return fail(measured);
    if (interrupt_token().cancelled()) {
      acknowledge_interrupt();
      note("interrupted");
      return interrupt_exit_code();
    }
    find_processor(c, c.findings);
    find_shares(c, c.findings);
    find_memory(c, c.findings);
    if (output_ == "json") {
      print_json(to_json(c));
    } else {
      print_text(c);
    }
    return kDone;
  }

 private:
  int threads_ = 0, rounds_ = 5;
  std::string output_ = "text";
};

}  // namespace

std::unique_ptr<Verb> make_doctor() { return std::make_unique<DoctorVerb>(); }

}  // namespace heed::cli
