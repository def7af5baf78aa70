// `heed bench linears`: products with a model's weight types alone, beside the roofs of the same
// run and ggml's own products on the same inputs, in alternating rounds, with every answer checked
// in fp64.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "eval/bench_report.h"
#include "eval/linear_problem.h"
#include "heed/engine.h"

namespace heed::eval {

std::vector<WeightType> all_weight_types();

struct LinearBenchOptions {
  std::vector<WeightType> types = all_weight_types();
  std::vector<LinearSize> sizes{{576, 1536}, {896, 4864}, {2048, 8192}, {4096, 14336}};
  std::vector<int64_t> rows{1, 4, 16, 64, 512, 2048};
  bool cross = false;                       // every size with every row count
  int rounds = 0;                           // 0: by time
  int threads = 0;                          // 0: the cores this process may use
  Precision precision = Precision::kUsual;  // of heed's products
  const CancelToken* cancel = nullptr;
  std::function<void(const std::string&)> say;
  // After each case, with every row so far; their share of the roof is of the roofs so far.
  std::function<void(const struct LinearReport&)> on_rows;
};

// What bounds a product.
enum class Roof { kStream, kInt8, kBf16, kFp32 };
const char* roof_name(Roof roof);  // "stream", "int8", ...

struct LinearRow {
  LinearShape shape;
  std::string engine;  // "heed", "ggml plain", "ggml repack"
  int rounds = 0;
  int64_t copies = 1;                         // weights that a round goes through
  double median_s = 0, p10_s = 0, p90_s = 0;  // one product
  double gops = 0, gbps = 0;                  // gbps: of the file's bytes
  Roof roof = Roof::kStream;
  std::optional<double> roof_share;  // empty: the machine has no such instruction
  // Of what memory gave in the same round, the median; only where memory is the roof.
  std::optional<double> paired_share;
  double error = 0;                  // |y - y64| / |y64|
  // By peer: paired ratios of rates, above 1 = heed faster; empty on ggml's rows.
  std::map<std::string, double> ratio, ratio_p10;
  std::string better;  // the faster of ggml's paths; empty on ggml's rows
};

struct LinearReport {
  Machine machine;
  std::vector<LinearRow> rows;
};

// One axis at a time unless `cross`: every size at 512 rows (or the most), every row count at the
// third of four sizes. Without the cases whose inputs are not whole blocks of the type.
std::vector<LinearShape> list_shapes(const LinearBenchOptions& options);

// kOutOfRange or kInvalidArgument for what no machine could make right.
Status check_options(const LinearBenchOptions& options);

// Errors: memory; an answer of heed that is further off than ggml's.
Result<LinearReport> bench_linears(const LinearBenchOptions& options);

std::string jsonl_rows(const LinearReport& report, size_t first);
std::string format_report(const LinearReport& report, BenchForm form);

}  // namespace heed::eval
