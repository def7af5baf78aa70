// What `heed bench` measured: one machine block and one row per test and engine, in four forms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace heed::eval {

// The machine as measured in the same run; every rate is to be read beside these.
struct Machine {
  std::string cpu;     // "AMD EPYC ..."
  std::string family;  // "25.17": family and model as the processor reports them
  std::string isa;     // of heed's kernels
  std::string ggml;    // the instructions that ggml and llama.cpp were built for, in the same names
  int threads = 0;
  double fp32_gflops = 0, bf16_gflops = 0, int8_gops = 0;  // 0: no such instruction
  double stream_gbps = 0;                                  // reading
};

struct BenchRow {
  std::string model, engine, policy = "dense", test;
  int64_t depth = 0;  // tokens held before the test
  int64_t n = 0;      // tokens of the test
  int repeats = 0;
  double median_s = 0, p10_s = 0, p90_s = 0;
  double tokens_per_s = 0;  // n / median_s
  uint64_t kv_bytes = 0;
  std::optional<double> kl_vs_ref;  // empty: random weights, or the reference could not be run
  bool beyond_context = false;
  std::optional<double> ratio, ratio_p10;  // against llama.cpp; empty on its own rows
  // Beyond the promised keys.
  std::string config;
  std::optional<double> attention_s;      // of heed's rounds, their median, storing keys included
  std::optional<double> attention_share;  // of llama.cpp's time
  std::optional<double> predicted_ratio;  // from that share and heed's attention time alone
};

struct BenchReport {
  Machine machine;
  std::vector<BenchRow> rows;
};

// JSON text; bytes that are no UTF-8 (a path may hold any) become U+FFFD instead of ending the run.
std::string dump(const nlohmann::ordered_json& json, int indent = -1);
nlohmann::ordered_json to_json(const Machine& machine);
nlohmann::ordered_json to_json(const BenchRow& row);

// "json": one object; "jsonl": a row a line, then the machine; "csv"; "md": a table for people.
enum class BenchForm { kMarkdown, kJson, kJsonl, kCsv };
std::string format_report(const BenchReport& report, BenchForm form);

// The two parts of "jsonl": rows can be printed as they are measured, the machine's roofs are the
// best of the whole run and known at its end.
std::string jsonl_rows(const BenchReport& report, size_t first);
std::string jsonl_machine(const Machine& machine);

}  // namespace heed::eval
