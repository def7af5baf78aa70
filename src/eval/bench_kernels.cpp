#include "eval/bench_kernels.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "eval/kernel_reference.h"
#include "eval/machine.h"
#include "eval/memory_check.h"
#include "eval/peer_isa.h"
#include "eval/statistics.h"
#include "model/threads.h"

namespace heed::eval {
namespace {

constexpr int kQueryHeads = 8;
constexpr int kCheckedRows = 4;

int default_rounds(const KernelShape& shape) {
  if (shape.decode) return 21;
  return shape.length <= 1024 ? 41 : shape.length <= 4096 ? 21 : 5;
}

struct Timed {
  std::unique_ptr<KernelContender> contender;
  Format format;
  bool mine;                    // heed
  std::vector<double> seconds;  // a round
};

uint64_t rotate_bytes(const KernelShape& shape) { return shape.decode ? uncached_bytes() : 0; }

constexpr std::array kGgmlFormats{Format::kF16, Format::kF32};

// The contenders of one shape exist at the same time.
std::vector<MemoryNeed> needs_of(const KernelBenchOptions& options, const KernelShape& shape) {
  const uint64_t rotate = rotate_bytes(shape);
  MemoryNeed inputs{"inputs", sizeof(float) * (shape.query_floats() + 2 * shape.key_floats())};
  MemoryNeed heed{"heed", 0}, ggml{"ggml", 0};
  for (const Format format : options.formats) {
    heed.bytes += heed_contender_bytes(shape, format, rotate);
  }
  for (const Format format : kGgmlFormats) {
    if (options.ggml) ggml.bytes += ggml_contender_bytes(shape, format, rotate);
  }
  return {inputs, heed, ggml};
}

// The shapes run one after the other, so the largest decides.
Status check_largest(const KernelBenchOptions& options) {
  const auto shapes = list_shapes(options);
  if (shapes.empty()) return Status::ok();
  const KernelShape shape = *std::max_element(
      shapes.begin(), shapes.end(), [&](const KernelShape& a, const KernelShape& b) {
        return total_bytes(needs_of(options, a)) < total_bytes(needs_of(options, b));
      });
  KernelShape shorter = shape;
  while (shorter.length > kPageTokens && !fits_in_memory(needs_of(options, shorter))) {
    shorter.length = std::max<int64_t>(kPageTokens, shorter.length / 2);
  }
  const std::string way_out =
      fits_in_memory(needs_of(options, shorter))
          ? cat("--lengths ", shorter.length, " fits, or name fewer --formats")
          : std::string("name fewer --formats, a smaller head size, or free memory");
  return check_memory(shape.name(), needs_of(options, shape), way_out, options.say);
}

Result<std::vector<Timed>> make_contenders(const KernelBenchOptions& options,
                                           const KernelInputs& inputs, int threads) {
  const uint64_t rotate = rotate_bytes(inputs.shape);
  std::vector<Timed> timed;
  for (const Format format : options.formats) {
    HEED_ASSIGN(auto heed, make_heed_contender(inputs, format, threads, rotate));
    timed.push_back({std::move(heed), format, true, {}});
  }
  if (!options.ggml) return timed;
  for (const Format format : kGgmlFormats) {
    HEED_ASSIGN(auto ggml, make_ggml_contender(inputs, format, threads, rotate));
    timed.push_back({std::move(ggml), format, false, {}});
  }
  return timed;
}

Status run_rounds(const KernelBenchOptions& options, const KernelShape& shape,
                  std::vector<Timed>& timed, Machine& machine) {
  RoundPlan plan;
  plan.name = shape.name();
  plan.rounds = options.rounds > 0 ? options.rounds : default_rounds(shape);
  plan.cancel = options.cancel;
  std::vector<Contender*> contenders;
  for (const Timed& one : timed) contenders.push_back(one.contender.get());
  HEED_ASSIGN(auto seconds, alternate(contenders, plan, machine));
  for (size_t i = 0; i < timed.size(); ++i) timed[i].seconds = std::move(seconds[i]);
  return Status::ok();
}

struct Errors {
  double mine = 0, plain = 0;
};

Errors check_answer(const KernelInputs& inputs, const Timed& one) {
  Errors errors;
  const int64_t queries = inputs.shape.queries();
  for (int i = 0; i < kCheckedRows; ++i) {
    const int64_t t = (queries - 1) * (i + 1) / kCheckedRows;
    const auto exact = exact_row(inputs, t);
    const auto row = one.contender->output(t);
    errors.mine =
        std::max(errors.mine, relative_error(exact, std::vector<double>(row.begin(), row.end())));
    errors.plain = std::max(errors.plain, relative_error(exact, plain_row(inputs, t, one.format)));
    if (queries == 1) break;
  }
  return errors;
}

double roof_share(const KernelRow& row, const Machine& machine) {
  if (row.shape.decode) return row.gbps / machine.stream_gbps;
  // f16 and f32 multiply in fp32; so does bf16 where the processor has no bf16 dot.
  const bool bf16 = row.format == "bf16" && machine.isa == "avx512_bf16";
  return row.gflops / (bf16 ? machine.bf16_gflops : machine.fp32_gflops);
}

KernelRow make_row(const KernelShape& shape, const Timed& one, const std::vector<Timed>& all) {
  KernelRow row;
  row.shape = shape;
  row.engine = one.contender->engine();
  row.format = one.contender->format();
  row.rounds = static_cast<int>(one.seconds.size());
  row.copies = one.contender->copies();
  row.median_s = median(one.seconds);
  row.p10_s = quantile(one.seconds, 0.1);
  row.p90_s = quantile(one.seconds, 0.9);
  row.gflops = shape.flops() / row.median_s * 1e-9;
  row.gbps = static_cast<double>(one.contender->kv_bytes()) / row.median_s * 1e-9;
  if (!one.mine) return row;
  for (const Timed& peer : all) {
    if (peer.mine) continue;
    const std::vector<double> ratios = paired_ratios(one.seconds, peer.seconds);
    const std::string name = cat("ggml ", peer.contender->format());
    row.ratio[name] = median(ratios);
    row.ratio_p10[name] = quantile(ratios, 0.1);
  }
  return row;
}

Status bench_shape(const KernelBenchOptions& options, const KernelShape& shape,
                   KernelReport& report) {
  const KernelInputs inputs = make_inputs(shape);
  HEED_ASSIGN(auto timed, make_contenders(options, inputs, report.machine.threads));
  HEED_TRY(run_rounds(options, shape, timed, report.machine));
  for (const Timed& one : timed) {
    KernelRow row = make_row(shape, one, timed);
    const Errors errors = check_answer(inputs, one);
    row.error = errors.mine;
    row.plain_error = errors.plain;
    if (one.mine && !(errors.mine <= error_limit(errors.plain))) {
      return error(Code::kInternal, "heed's answer of ", shape.name(), " in ", row.format,
                   " is off by ", errors.mine, " of its magnitude, a plain implementation by ",
                   errors.plain);
    }
    if (options.say) {
      options.say(cat(shape.name(), ", ", row.engine, " ", row.format, ": ", row.gflops,
                      " GFLOP/s, ", row.gbps, " GB/s"));
    }
    report.rows.push_back(std::move(row));
  }
  return Status::ok();
}

}  // namespace

Status check_options(const KernelBenchOptions& options) {
  for (const int d : options.head_sizes) {
    if (d >= 32 && d <= kMaxHeadSize && d % 32 == 0) continue;
    return error(Code::kOutOfRange, "head size ", d, ": a multiple of 32 up to ", kMaxHeadSize,
                 " (ggml's flash attention takes no others)");
  }
  for (const int group : options.groups) {
    if (group >= 1 && group <= 64) continue;
    return error(Code::kOutOfRange, "group of ", group, " query heads: 1 to 64");
  }
  for (const int64_t length : options.lengths) {
    if (length >= kPageTokens && length <= (int64_t{1} << 20)) continue;
    return error(Code::kOutOfRange, "length ", length, ": ", kPageTokens, " (one page) to 1048576");
  }
  if (options.formats.empty() || options.head_sizes.empty() || options.groups.empty() ||
      options.lengths.empty()) {
    return error(Code::kInvalidArgument, "no case: give formats, head sizes, groups and lengths");
  }
  if (options.rounds < 0) return error(Code::kOutOfRange, options.rounds, " rounds: at least 1");
  return Status::ok();
}

std::vector<KernelShape> list_shapes(const KernelBenchOptions& options) {
  const auto middle = [](const auto& list) { return list[list.size() / 2]; };
  const int d = middle(options.head_sizes), group = middle(options.groups);
  const int64_t length = middle(options.lengths);
  std::vector<KernelShape> shapes;
  for (const bool decode : {false, true}) {
    if (decode ? !options.decode : !options.prefill) continue;
    const auto add = [&](int size, int g, int64_t n) {
      const KernelShape shape{decode, size, std::max(1, kQueryHeads / g), g, n};
      const bool known = std::any_of(shapes.begin(), shapes.end(), [&](const KernelShape& other) {
        return other.name() == shape.name();
      });
      if (!known) shapes.push_back(shape);
    };
    for (const int size : options.head_sizes) {
      for (const int g : options.groups) add(size, g, length);
    }
    for (const int64_t n : options.lengths) add(d, group, n);
  }
  return shapes;
}

Result<KernelReport> bench_kernels(const KernelBenchOptions& options) {
  HEED_TRY(check_options(options));
  if (options.ggml) HEED_TRY(check_peer_isa());
  HEED_ASSIGN(const int threads, resolve_threads(options.threads));
  HEED_TRY(check_largest(options));
  KernelReport report;
  HEED_ASSIGN(report.machine, describe_machine(threads));
  HEED_TRY(measure_roofs(report.machine));
  for (const KernelShape& shape : list_shapes(options)) {
    HEED_TRY(bench_shape(options, shape, report));
    // The roof is the maximum of the run: earlier rows move while it goes on.
    for (KernelRow& row : report.rows) row.roof_share = roof_share(row, report.machine);
    if (options.on_rows) options.on_rows(report);
  }
  return report;
}

}  // namespace heed::eval
