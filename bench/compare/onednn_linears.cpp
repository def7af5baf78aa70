// bench_onednn_linears [THREADS [WORD...]]: heed's products with F32, F16 and BF16 weights beside
// oneDNN's matmul, in turns in one process, on the same numbers: rates, shares of the measured
// roofs, errors against fp64, and whether a row has the same bits whatever rows stand beside it
// (heed's contract). A WORD names a type or a size (F32, 576x1536); without any, all of them.
// Markdown on stdout. The library: libdnnl-dev; README.md beside this file says how to run it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "eval/kernel_reference.h"
#include "eval/linear_reference.h"
#include "eval/machine.h"
#include "eval/row_forms.h"
#include "eval/statistics.h"
#include "linear/unit.h"
#include "model/threads.h"
#include "onednn_product.h"
#include "paced.h"

namespace heed::bench {
namespace {

using eval::LinearContender;
using eval::LinearProblem;
using eval::LinearShape;
using eval::LinearSize;

constexpr std::array kTypes = {WeightType::kF32, WeightType::kF16, WeightType::kBf16};
constexpr std::array kSizes = {LinearSize{576, 1536}, LinearSize{896, 4864}, LinearSize{2048, 8192},
                               LinearSize{4096, 14336}};
constexpr std::array<int64_t, 6> kRows = {1, 4, 16, 64, 512, 2048};
constexpr std::array<int64_t, 5> kBitRows = {1, 3, 17, 64, 512};
constexpr double kCaseSeconds = 1.2;  // of timed rounds
// bf16 keeps 8 bits: an input is off by at most 2^-9 of itself, a sum of many by less of its own.
constexpr double kBf16Error = 1.0 / 512;

struct Side {
  double gops = 0, gbps = 0, error = 0;
};

struct Row {
  LinearShape shape;
  Side heed, onednn;
  double ratio = 0, ratio_p10 = 0;  // above 1: heed is faster
  std::string kernel;               // of oneDNN
  double create_s = 0;              // of its primitive
};

struct Report {
  Cores cores;
  eval::Machine machine;
  Isa isa = Isa::kScalar;
  std::vector<Row> rows;
  std::string bits;  // lines of the second table
};

Side make_side(const LinearShape& shape, const std::vector<double>& seconds, double off) {
  const double s = eval::median(seconds);
  return {shape.operations() / s * 1e-9, static_cast<double>(shape.file_bytes()) / s * 1e-9, off};
}

// No time counts whose answer is wrong.
Status check_answer(const LinearShape& shape, const char* engine, double off, double allowed) {
  if (off <= allowed) return Status::ok();
  return error(Code::kInternal, engine, "'s answer of ", shape.name(), " is off by ", off,
               " of its length; allowed are ", allowed);
}

// OpenMP's own threads to their cores; libgomp keeps them from one product to the next.
Status settle_openmp(const Cores& cores, int threads) {
  std::atomic<bool> settled{true};
#pragma omp parallel num_threads(threads)
  if (omp_get_thread_num() != 0 && !cores.take_others().is_ok()) settled = false;
  if (settled) return Status::ok();
  return error(Code::kIo, "the system keeps OpenMP's threads from their cores");
}

Status time_case(const LinearProblem& problem, int64_t rows, LinearContender& heed,
                 OnednnProduct& onednn, Report& report) {
  const LinearShape shape{problem.type, problem.size, rows};
  HEED_TRY(heed.begin(rows));
  HEED_TRY(onednn.begin(rows));
  HEED_TRY(settle_openmp(report.cores, report.machine.threads));
  const double work = shape.operations() * static_cast<double>(heed.copies());
  Paced mine(heed, work, report.cores), its(onednn, work, report.cores);
  eval::Contender* const both[] = {&mine, &its};
  HEED_ASSIGN(const auto seconds,
              eval::alternate(both, {shape.name(), 0, kCaseSeconds, nullptr}, report.machine));
  const eval::LinearReference reference(problem, rows);
  const double allowed =
      problem.type == WeightType::kBf16 ? kBf16Error : eval::error_limit(reference.plain_error());
  const std::vector<double> ratios = eval::paired_ratios(seconds[0], seconds[1]);
  const Row row{shape,
                make_side(shape, seconds[0], reference.error(heed)),
                make_side(shape, seconds[1], reference.error(onednn)),
                eval::median(ratios),
                eval::quantile(ratios, 0.1),
                onednn.kernel(),
                onednn.create_s()};
  HEED_TRY(check_answer(shape, "heed", row.heed.error, allowed));
  HEED_TRY(check_answer(shape, "oneDNN", row.onednn.error, allowed));
  std::fputs(fmt::format("{}: {:.3f}\n", shape.name(), row.ratio).c_str(), stderr);
  report.rows.push_back(row);
  return Status::ok();
}

// [rows, outputs] of a product with so many rows.
Result<std::vector<float>> answer(LinearContender& contender, int64_t rows) {
  HEED_TRY(contender.begin(rows));
  HEED_TRY(contender.round());
  const float* y = contender.output(0).data();
  return std::vector<float>(y, y + rows * static_cast<int64_t>(contender.output(0).size()));
}

// Which products have rows other than those of 512 rows by all threads.
Result<std::string> differing(LinearContender& all, LinearContender& one) {
  HEED_ASSIGN(const std::vector<float> whole, answer(all, kBitRows.back()));
  const size_t period = whole.size() / static_cast<size_t>(kBitRows.back()) *
                        static_cast<size_t>(LinearProblem::kDistinctRows);
  // x repeats its rows, so y must, wherever in a tile they come to lie.
  const bool shifts =
      std::equal(whole.begin() + static_cast<std::ptrdiff_t>(period), whole.end(), whole.begin());
  std::string text = shifts ? "" : "differ: by their place";
  for (LinearContender* contender : {&all, &one}) {
    for (const int64_t rows : kBitRows) {
      HEED_ASSIGN(const std::vector<float> some, answer(*contender, rows));
      if (std::memcmp(some.data(), whole.data(), some.size() * sizeof(float)) == 0) continue;
      text += fmt::format("{}{}{}", text.empty() ? "differ: " : ", ", rows,
                          contender == &one ? " (1 thread)" : "");
    }
  }
  return text.empty() ? std::string("equal") : text;
}

Result<std::string> onednn_bits(const LinearProblem& problem, int threads, Primitive primitive) {
  OnednnProduct all(problem, 1, threads, primitive), one(problem, 1, 1, primitive);
  return differing(all, one);
}

Status compare_bits(const LinearProblem& problem, Report& report) {
  const int threads = report.machine.threads;
  HEED_ASSIGN(const auto all, eval::make_heed_linear(problem, Precision::kUsual, 1, threads));
  HEED_ASSIGN(const auto one, eval::make_heed_linear(problem, Precision::kUsual, 1, 1));
  HEED_ASSIGN(const std::string mine, differing(*all, *one));
  HEED_ASSIGN(const std::string each, onednn_bits(problem, threads, Primitive::kEachRowCount));
  HEED_ASSIGN(const std::string open, onednn_bits(problem, threads, Primitive::kOneForAll));
  report.bits += fmt::format("| {} {}x{} | {} | {} | {} |\n", weight_type_name(problem.type),
                             problem.size.inputs, problem.size.outputs, mine, each, open);
  return Status::ok();
}

Status compare_weight(WeightType type, LinearSize size, Report& report) {
  const LinearProblem problem = eval::make_problem(type, size, kRows.back());
  const auto copies = static_cast<int64_t>(eval::uncached_bytes() / problem.file.size()) + 1;
  {
    const int threads = report.machine.threads;
    HEED_TRY(report.cores.take_others());  // for heed's own threads, which are started here
    auto made = eval::make_heed_linear(problem, Precision::kUsual, copies, threads);
    HEED_TRY(report.cores.take_all());
    HEED_ASSIGN(const auto heed, std::move(made));
    OnednnProduct onednn(problem, copies, threads, Primitive::kEachRowCount);
    for (const int64_t rows : kRows) HEED_TRY(time_case(problem, rows, *heed, onednn, report));
  }
  return compare_bits(problem, report);
}

std::string row_text(const Row& row, const Report& report) {
  const eval::Machine& m = report.machine;
  const bool streamed = row.shape.streamed();
  const bool bf16 = product_unit(report.isa, row.shape.type) == ProductUnit::kBf16;
  const double roof = streamed ? m.stream_gbps : bf16 ? m.bf16_gflops : m.fp32_gflops;
  const auto share = [&](const Side& side) {
    return fmt::format("{:.0f} %", 100 * (streamed ? side.gbps : side.gops) / roof);
  };
  return fmt::format(
      "| {} {}x{} | {} | {:.3f} ({:.3f}) | {:.1f} / {:.1f} | {} / {} {} | {:.2e} / {:.2e} | {}, "
      "{:.1f} ms |\n",
      weight_type_name(row.shape.type), row.shape.size.inputs, row.shape.size.outputs,
      row.shape.rows, row.ratio, row.ratio_p10, row.heed.gops, row.onednn.gops, share(row.heed),
      share(row.onednn),
      streamed ? "stream"
      : bf16   ? "bf16"
               : "fp32",
      row.heed.error, row.onednn.error, row.kernel, row.create_s * 1e3);
}

std::string refusal_text() {
  std::string text;
  for (const auto& [name, x] :
       {std::pair{"f32", OnednnProduct::Type::f32}, {"f16", OnednnProduct::Type::f16}}) {
    const std::string refusal = f16_refusal(x);
    text += fmt::format("oneDNN on f16 weights with {} inputs: {}.\n", name,
                        refusal.empty() ? "takes them" : "refused, \"" + refusal + '"');
  }
  return text + "Its F16 rows below multiply f32 copies, of twice the bytes.\n\n";
}

void print(const Report& report) {
  std::string text = eval::roofs_text(report.machine);
  const dnnl_version_t& v = *dnnl_version();
  text += fmt::format("oneDNN {}.{}.{}, OpenMP, {} threads.\n", v.major, v.minor, v.patch,
                      report.machine.threads);
  text += refusal_text();
  text +=
      "| weight | rows | heed over oneDNN (p10) | GOP/s: heed / oneDNN | share of roof | error "
      "| oneDNN's kernel, time to make it |\n|---|---|---|---|---|---|---|\n";
  for (const Row& row : report.rows) text += row_text(row, report);
  text +=
      "\nBits of rows of 1, 3, 17, 64 and 512, by all threads and by one, against those of 512:\n\n"
      "| weight | heed | oneDNN, a primitive for each row count | oneDNN, one for all |\n"
      "|---|---|---|---|\n";
  std::fputs((text + report.bits).c_str(), stdout);
}

struct Choice {
  std::vector<WeightType> types;
  std::vector<LinearSize> sizes;
};

Result<Choice> choose(int count, char** words) {
  Choice choice;
  for (int i = 2; i < count; ++i) {
    const std::string word = words[i];
    const size_t before = choice.types.size() + choice.sizes.size();
    for (const WeightType type : kTypes) {
      if (word == weight_type_name(type)) choice.types.push_back(type);
    }
    for (const LinearSize& size : kSizes) {
      if (word == cat(size.inputs, "x", size.outputs)) choice.sizes.push_back(size);
    }
    if (choice.types.size() + choice.sizes.size() == before) {
      return error(Code::kInvalidArgument, "'", word, "' is none of F32, F16, BF16, 576x1536, ",
                   "896x4864, 2048x8192, 4096x14336");
    }
  }
  if (choice.types.empty()) choice.types.assign(kTypes.begin(), kTypes.end());
  if (choice.sizes.empty()) choice.sizes.assign(kSizes.begin(), kSizes.end());
  return choice;
}

Status compare(int count, char** words) {
  HEED_ASSIGN(const Choice choice, choose(count, words));
  const int asked = count > 1 ? std::atoi(words[1]) : 0;
  if (count > 1 && asked < 1) {
    return error(Code::kInvalidArgument, "'", words[1], "' is no number of threads; ",
                 "usage: bench_onednn_linears [THREADS [WORD...]], as in 2 BF16 2048x8192");
  }
  HEED_ASSIGN(const int threads, resolve_threads(asked));
  dnnl::set_primitive_cache_capacity(0);  // what making a primitive takes is shown for each
  Report report;
  HEED_ASSIGN(report.isa, choose_isa());
  HEED_ASSIGN(report.machine, eval::describe_machine(threads));
  HEED_TRY(eval::measure_roofs(report.machine));
  for (const WeightType type : choice.types) {
    for (const LinearSize& size : choice.sizes) {
      const Status status = compare_weight(type, size, report);
      if (status.code() != Code::kUnsupported) HEED_TRY(status);
      if (!status.is_ok()) {
        report.bits += fmt::format("| {} {}x{} | | {} | |\n", weight_type_name(type), size.inputs,
                                   size.outputs, status.message());
      }
    }
  }
  print(report);
  return Status::ok();
}

}  // namespace
}  // namespace heed::bench

int main(int count, char** words) {
  const heed::Status status =
      heed::guarded("comparing with oneDNN", [&] { return heed::bench::compare(count, words); });
  if (status.is_ok()) return 0;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
