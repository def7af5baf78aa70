#include <fmt/format.h>

#include "eval/bench_kernels.h"
#include "eval/row_forms.h"

namespace heed::eval {
namespace {

Json row_json(const KernelRow& row) {
  return {{"engine", row.engine},
          {"format", row.format},
          {"test", row.shape.decode ? "decode" : "prefill"},
          {"d", row.shape.d},
          {"kv_heads", row.shape.kv_heads},
          {"group", row.shape.group},
          {"length", row.shape.length},
          {"rounds", row.rounds},
          {"copies", row.copies},
          {"median_s", row.median_s},
          {"p10_s", row.p10_s},
          {"p90_s", row.p90_s},
          {"gflops", row.gflops},
          {"gbps", row.gbps},
          {"roof_share", row.roof_share},
          {"error", row.error},
          {"plain_error", row.plain_error},
          {"ratio_vs", row.ratio},
          {"ratio_p10", row.ratio_p10}};
}

std::string cell(const std::map<std::string, double>& ratio, const char* peer) {
  const auto found = ratio.find(peer);
  return found == ratio.end() ? "" : fmt::format("{:.2f}", found->second);
}

std::string markdown(const KernelReport& report) {
  std::string text = roofs_text(report.machine);
  text +=
      "| case | engine | format | median ms | GFLOP/s | GB/s | share of roof | error (plain) "
      "| × ggml f16 | × ggml f32 |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const KernelRow& row : report.rows) {
    text += fmt::format(
        "| {} | {} | {} | {:.3f} | {:.0f} | {:.1f} | {:.0f} % | {:.1e} ({:.1e}) | {} | {} |\n",
        row.shape.name(), row.engine, row.format, row.median_s * 1e3, row.gflops, row.gbps,
        row.roof_share * 100, row.error, row.plain_error, cell(row.ratio, "ggml f16"),
        cell(row.ratio, "ggml f32"));
  }
  return text;
}

Json flat_json(const KernelRow& row) {
  Json json = row_json(row);
  json.erase("ratio_vs");
  json.erase("ratio_p10");
  for (const char* peer : {"ggml f16", "ggml f32"}) {
    json[std::string("ratio_vs ") + peer] = cell(row.ratio, peer);
  }
  return json;
}

}  // namespace

std::string jsonl_rows(const KernelReport& report, size_t first) {
  return jsonl_form(json_rows(report.rows, row_json), first);
}

std::string format_report(const KernelReport& report, BenchForm form) {
  if (form == BenchForm::kMarkdown) return markdown(report);
  if (form == BenchForm::kCsv) return csv_form(json_rows(report.rows, flat_json));
  if (form == BenchForm::kJsonl) return jsonl_rows(report, 0) + jsonl_machine(report.machine);
  return json_form(report.machine, json_rows(report.rows, row_json));
}

}  // namespace heed::eval
