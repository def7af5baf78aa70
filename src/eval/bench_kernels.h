// `heed bench kernels`: the attention kernels alone, beside the roofs of the same run and ggml's
// flash attention on the same inputs, in alternating rounds, with every answer checked in fp64.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "eval/bench_report.h"
#include "eval/kernel_shape.h"
#include "heed/engine.h"

namespace heed::eval {

struct KernelBenchOptions {
  bool prefill = true, decode = true;
  std::vector<int> head_sizes{64, 128, 256};
  std::vector<int> groups{1, 4, 8};  // query heads a KV head, 8 query heads in all
  std::vector<int64_t> lengths{512, 4096, 16384};
  std::vector<Format> formats{Format::kF32, Format::kF16, Format::kBf16};
  bool ggml = true;
  int rounds = 0;   // 0: by length
  int threads = 0;  // 0: the cores this process may use
  const CancelToken* cancel = nullptr;
  std::function<void(const std::string&)> say;
  // After each case, with every row so far; their share of the roof is of the roofs so far.
  std::function<void(const struct KernelReport&)> on_rows;
};

struct KernelRow {
  KernelShape shape;
  std::string engine, format;
  int rounds = 0;
  int64_t copies = 1;                         // decode: sequences that a round goes through
  double median_s = 0, p10_s = 0, p90_s = 0;  // prefill: the prompt; decode: one step
  double gflops = 0, gbps = 0;
  double roof_share = 0;  // prefill: of the multiply-add roof of the format; decode: of the stream
  double error = 0;  // against fp64, relative to the mean magnitude, largest of the rows checked
  double plain_error = 0;  // of a plain implementation in the same format
  // By peer format ("ggml f16", "ggml f32"): paired ratios of rates, above 1 = heed faster.
  std::map<std::string, double> ratio, ratio_p10;
};

struct KernelReport {
  Machine machine;
  std::vector<KernelRow> rows;
};

// The default grid is every head size and group at the middle length, every length at d = 128,
// group 4: one axis at a time, so that it ends in minutes.
std::vector<KernelShape> list_shapes(const KernelBenchOptions& options);

// kOutOfRange or kInvalidArgument for what no machine and no file could make right.
Status check_options(const KernelBenchOptions& options);

// Errors: a head size or format that heed does not have, memory, an answer of heed whose error is
// more than twice that of the plain implementation.
Result<KernelReport> bench_kernels(const KernelBenchOptions& options);

std::string jsonl_rows(const KernelReport& report, size_t first);
std::string format_report(const KernelReport& report, BenchForm form);

}  // namespace heed::eval
