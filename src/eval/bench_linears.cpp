#include "eval/bench_linears.h"

#include <algorithm>
#include <iterator>

#include "base/guard.h"
#include "base/text.h"
#include "eval/kernel_reference.h"
#include "eval/linear_reference.h"
#include "eval/machine.h"
#include "eval/memory_check.h"
#include "eval/memory_stream.h"
#include "eval/peer_isa.h"
#include "eval/statistics.h"
#include "linear/unit.h"
#include "model/threads.h"

namespace heed::eval {
namespace {

constexpr int64_t kPromptRows = 512;      // the middle of the row counts: a chunk of a prompt
constexpr double kCaseSeconds = 3;        // of timed rounds, where their number is not given
constexpr uint64_t kCopyBytes = 1 << 10;  // of a copy beside its weight: ggml's tensors and nodes
constexpr int64_t kMostInputs = 1 << 17, kMostOutputs = 1 << 22, kMostRows = 1 << 16;

// Both round x to 8 bits in blocks, ggml's K types in longer ones; the margin is for the luck of
// two roundings of the same numbers.
constexpr double kLuck = 1.02;

// The cases that share one weight.
struct WeightCases {
  WeightType type;
  LinearSize size;
  std::vector<int64_t> rows;

  int64_t most_rows() const { return *std::max_element(rows.begin(), rows.end()); }
  int64_t copies() const {
    const LinearShape shape{type, size, *std::min_element(rows.begin(), rows.end())};
    if (!shape.streamed()) return 1;
    return static_cast<int64_t>(uncached_bytes() / shape.file_bytes()) + 1;
  }
  std::string name() const {
    return cat(weight_type_name(type), " ", size.inputs, "x", size.outputs);
  }
};

std::vector<WeightCases> group_cases(const std::vector<LinearShape>& shapes) {
  std::vector<WeightCases> groups;
  for (const LinearShape& shape : shapes) {
    if (groups.empty() || groups.back().type != shape.type || groups.back().size != shape.size) {
      groups.push_back({shape.type, shape.size, {}});
    }
    groups.back().rows.push_back(shape.rows);
  }
  return groups;
}

// All contenders of a weight exist at the same time.
Result<std::vector<MemoryNeed>> needs_of(const WeightCases& cases) {
  HEED_ASSIGN(const PackedWeight weight,
              PackedWeight::shape(cases.type, cases.size.outputs, cases.size.inputs));
  const auto copies = static_cast<uint64_t>(cases.copies());
  const uint64_t file = LinearShape{cases.type, cases.size, 1}.file_bytes() + kCopyBytes;
  const auto rows = static_cast<uint64_t>(cases.most_rows());
  const uint64_t row_bytes =
      sizeof(float) * static_cast<uint64_t>(cases.size.inputs + cases.size.outputs);
  MemoryNeed inputs{"inputs", problem_bytes(cases.type, cases.size, cases.most_rows())};
  MemoryNeed heed{"heed",
                  copies * (static_cast<uint64_t>(weight.bytes()) + kCopyBytes) + rows * row_bytes};
  MemoryNeed ggml{"ggml", 0};
  for (const GgmlLayout layout : {GgmlLayout::kPlain, GgmlLayout::kRepacked}) {
    if (has_ggml_layout(cases.type, cases.size, layout)) {
      ggml.bytes += copies * file + rows * row_bytes;
    }
  }
  return std::vector<MemoryNeed>{inputs, heed, ggml};
}

// The weights come one after the other, so the largest decides.
Status check_largest(const LinearBenchOptions& options, const std::vector<WeightCases>& groups,
                     int threads) {
  const WeightCases* largest = nullptr;
  std::vector<MemoryNeed> needs;
  for (const WeightCases& cases : groups) {
    HEED_ASSIGN(auto these, needs_of(cases));
    if (largest != nullptr && total_bytes(these) <= total_bytes(needs)) continue;
    largest = &cases;
    needs = std::move(these);
  }
  const std::string way_out =
      largest->copies() > 1 ? cat("few rows go through ", largest->copies(),
                                  " copies so that no cache holds them; --rows above ",
                                  kStreamedRows, " needs one, or name smaller --sizes")
                            : std::string("name smaller --sizes or fewer --rows, or free memory");
  // Of the roofs, and of the rounds of few rows while these are measured.
  needs.push_back({"streams", (largest->copies() > 1 ? 2 : 1) * MemoryStream::bytes_of(threads)});
  return check_memory(largest->name(), needs, way_out, options.say);
}

using Contenders = std::vector<std::unique_ptr<LinearContender>>;  // heed, ggml plain, ggml repack

Result<Contenders> make_contenders(const LinearProblem& problem, Precision precision,
                                   int64_t copies, int threads) {
  Contenders all;
  HEED_ASSIGN(all.emplace_back(), make_heed_linear(problem, precision, copies, threads));
  for (const GgmlLayout layout : {GgmlLayout::kPlain, GgmlLayout::kRepacked}) {
    HEED_ASSIGN(auto ggml, make_ggml_linear(problem, layout, copies, threads));
    if (ggml == nullptr) continue;
    ggml->park();
    all.push_back(std::move(ggml));
  }
  return all;
}

Roof roof_of(const LinearShape& shape, ProductUnit unit) {
  if (shape.streamed()) return Roof::kStream;
  switch (unit) {
    case ProductUnit::kInt8: return Roof::kInt8;
    case ProductUnit::kBf16: return Roof::kBf16;
    case ProductUnit::kFp32: break;
  }
  return Roof::kFp32;
}

std::optional<double> roof_share(const LinearRow& row, const Machine& machine) {
  const double rate = row.roof == Roof::kStream ? row.gbps : row.gops;
  const double roof = row.roof == Roof::kStream ? machine.stream_gbps
                      : row.roof == Roof::kInt8 ? machine.int8_gops
                      : row.roof == Roof::kBf16 ? machine.bf16_gflops
                                                : machine.fp32_gflops;
  if (roof <= 0) return {};
  return rate / roof;
}

// What heed may be off by. F32: ggml sums in many short chains, heed in one, as a plain loop. The
// accurate products of codes promise half of ggml's error.
double allowed_error(WeightType type, Precision precision, const LinearReference& reference,
                     double ggml_error) {
  if (type == WeightType::kF32) return error_limit(reference.plain_error());
  const bool codes = kernels::input_form(type) == kernels::InputForm::kBytes;
  return (codes && precision == Precision::kAccurate ? 0.5 : kLuck) * ggml_error;
}

LinearRow make_row(const LinearShape& shape, const LinearContender& one,
                   const std::vector<double>& seconds) {
  LinearRow row;
  row.shape = shape;
  row.engine = one.engine();
  row.rounds = static_cast<int>(seconds.size());
  row.copies = one.copies();
  row.median_s = median(seconds);
  row.p10_s = quantile(seconds, 0.1);
  row.p90_s = quantile(seconds, 0.9);
  row.gops = shape.operations() / row.median_s * 1e-9;
  row.gbps = static_cast<double>(shape.file_bytes()) / row.median_s * 1e-9;
  return row;
}

// Share of the stream of each round, when one round read `stream_bytes` in stream_s.
double paired_share(const LinearShape& shape, const std::vector<double>& seconds,
                    uint64_t stream_bytes, const std::vector<double>& stream_s) {
  return median(paired_ratios(seconds, stream_s)) * static_cast<double>(shape.file_bytes()) /
         static_cast<double>(stream_bytes);
}

// The benchmark of one weight.
class WeightBench {
 public:
  WeightBench(const LinearBenchOptions& options, Isa isa, LinearReport& report,
              const WeightCases& cases)
      : options_(options),
        isa_(isa),
        report_(report),
        cases_(cases),
        problem_(make_problem(cases.type, cases.size, cases.most_rows())),
        stream_(report.machine.threads) {}

  Status run() {
    HEED_ASSIGN(contenders_, make_contenders(problem_, options_.precision, cases_.copies(),
                                             report_.machine.threads));
    if (cases_.copies() > 1) HEED_TRY(stream_.prepare());
    for (const int64_t rows : cases_.rows) HEED_TRY(run_case(rows));
    return Status::ok();
  }

 private:
  Status run_case(int64_t rows) {
    const LinearShape shape{cases_.type, cases_.size, rows};
    std::vector<Contender*> all;
    for (const auto& one : contenders_) {
      HEED_TRY(one->begin(rows));
      all.push_back(one.get());
    }
    if (shape.streamed()) all.push_back(&stream_);
    const RoundPlan plan{shape.name(), options_.rounds, kCaseSeconds, options_.cancel};
    HEED_ASSIGN(const auto seconds, alternate(all, plan, report_.machine));
    std::vector<LinearRow> rows_of_case;
    for (size_t i = 0; i < contenders_.size(); ++i) {
      rows_of_case.push_back(make_row(shape, *contenders_[i], seconds[i]));
      // ggml multiplies bytes whatever heed was told.
      const Precision precision = i == 0 ? options_.precision : Precision::kUsual;
      HEED_ASSIGN(const auto weight,
                  PackedWeight::shape(shape.type, 32, shape.size.inputs, precision));
      rows_of_case.back().roof = roof_of(shape, product_unit(isa_, weight));
      if (!shape.streamed()) continue;
      rows_of_case.back().paired_share =
          paired_share(shape, seconds[i], stream_.bytes(), seconds.back());
    }
    compare(rows_of_case, seconds);
    HEED_TRY(check_answers(shape, rows_of_case));
    for (LinearRow& row : rows_of_case) tell(std::move(row));
    // The roof is the maximum of the run: earlier rows move while it goes on.
    for (LinearRow& row : report_.rows) row.roof_share = roof_share(row, report_.machine);
    if (options_.on_rows) options_.on_rows(report_);
    return Status::ok();
  }

  // Fills heed's row (the first) with its ratios to each of ggml's.
  static void compare(std::vector<LinearRow>& rows,
                      const std::vector<std::vector<double>>& seconds) {
    LinearRow& heed = rows[0];
    double best = 0;
    for (size_t i = 1; i < rows.size(); ++i) {
      const std::vector<double> ratios = paired_ratios(seconds[0], seconds[i]);
      heed.ratio[rows[i].engine] = median(ratios);
      heed.ratio_p10[rows[i].engine] = quantile(ratios, 0.1);
      if (!heed.better.empty() && rows[i].median_s >= best) continue;
      heed.better = rows[i].engine;
      best = rows[i].median_s;
    }
  }

  Status check_answers(const LinearShape& shape, std::vector<LinearRow>& rows) const {
    const LinearReference reference(problem_, shape.rows);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].error = reference.error(*contenders_[i]);
    const double allowed = allowed_error(shape.type, options_.precision, reference, rows[1].error);
    if (rows[0].error <= allowed) return Status::ok();
    return error(Code::kInternal, "heed's answer of ", shape.name(), " is off by ", rows[0].error,
                 " of its length, ggml's by ", rows[1].error, "; allowed are ", allowed);
  }

  void tell(LinearRow row) {
    if (options_.say) {
      options_.say(
          cat(row.shape.name(), ", ", row.engine, ": ", row.gops, " GOP/s, ", row.gbps, " GB/s"));
    }
    report_.rows.push_back(std::move(row));
  }

  const LinearBenchOptions& options_;
  const Isa isa_;
  LinearReport& report_;
  const WeightCases& cases_;
  const LinearProblem problem_;
  MemoryStream stream_;
  Contenders contenders_;
};

template <class T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Status check_whole_blocks(const LinearBenchOptions& options) {
  if (!list_shapes(options).empty()) return Status::ok();
  const WeightType type = options.types.front();
  return error(Code::kInvalidArgument, "no case: ", weight_type_name(type),
               " takes inputs in blocks of ", file_block_inputs(type), ", ",
               options.sizes.front().inputs, " are not whole ones");
}

}  // namespace

std::vector<WeightType> all_weight_types() {
  std::vector<WeightType> types;
  for (int i = 0; i < kernels::kWeightTypes; ++i) types.push_back(static_cast<WeightType>(i));
  return types;
}

const char* roof_name(Roof roof) {
  switch (roof) {
    case Roof::kStream: return "stream";
    case Roof::kInt8: return "int8";
    case Roof::kBf16: return "bf16";
    case Roof::kFp32: return "fp32";
  }
  return "?";
}

Status check_options(const LinearBenchOptions& options) {
  if (options.types.empty() || options.sizes.empty() || options.rows.empty()) {
    return error(Code::kInvalidArgument, "no case: give types, sizes and rows");
  }
  for (const LinearSize& size : options.sizes) {
    if (size.inputs >= kernels::kBlockInputs && size.inputs <= kMostInputs &&
        size.inputs % kernels::kBlockInputs == 0 && size.outputs >= 1 &&
        size.outputs <= kMostOutputs) {
      continue;
    }
    return error(Code::kOutOfRange, "size ", size.inputs, "x", size.outputs,
                 ": inputs are a multiple of ", kernels::kBlockInputs, " up to ", kMostInputs,
                 ", outputs 1 to ", kMostOutputs);
  }
  for (const int64_t rows : options.rows) {
    if (rows >= 1 && rows <= kMostRows) continue;
    return error(Code::kOutOfRange, rows, " rows: 1 to ", kMostRows);
  }
  if (options.rounds < 0) return error(Code::kOutOfRange, options.rounds, " rounds: at least 1");
  return check_whole_blocks(options);
}

std::vector<LinearShape> list_shapes(const LinearBenchOptions& options) {
  const LinearSize middle = options.sizes[options.sizes.size() / 2];
  const int64_t prompt = contains(options.rows, kPromptRows)
                             ? kPromptRows
                             : *std::max_element(options.rows.begin(), options.rows.end());
  std::vector<LinearShape> shapes;
  for (const WeightType type : options.types) {
    // K types may not fit the middle size; their rows then vary at the last that does.
    std::vector<LinearSize> sizes;
    for (const LinearSize& size : options.sizes) {
      if (size.inputs % file_block_inputs(type) == 0 && !contains(sizes, size)) {
        sizes.push_back(size);
      }
    }
    if (sizes.empty()) continue;
    const LinearSize centre = contains(sizes, middle) ? middle : sizes.back();
    for (const LinearSize& size : sizes) {
      for (const int64_t rows : options.rows) {
        if (options.cross || size == centre || rows == prompt) shapes.push_back({type, size, rows});
      }
    }
  }
  return shapes;
}

Result<LinearReport> bench_linears(const LinearBenchOptions& options) {
  HEED_TRY(check_options(options));
  HEED_TRY(check_peer_isa());
  HEED_ASSIGN(const int threads, resolve_threads(options.threads));
  HEED_ASSIGN(const Isa isa, choose_isa());
  const std::vector<WeightCases> groups = group_cases(list_shapes(options));
  HEED_TRY(check_largest(options, groups, threads));
  LinearReport report;
  HEED_ASSIGN(report.machine, describe_machine(threads));
  HEED_TRY(measure_roofs(report.machine));
  for (const WeightCases& cases : groups) {
    HEED_TRY(guarded("measuring products",
                     [&] { return WeightBench(options, isa, report, cases).run(); }));
  }
  return report;
}

}  // namespace heed::eval
