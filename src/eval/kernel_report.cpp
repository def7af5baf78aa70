#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "eval/bench_kernels.h"

namespace heed::eval {
namespace {

using Json = nlohmann::ordered_json;

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
  const Machine& m = report.machine;
  std::string text = fmt::format(
      "{} (family {}), {}, {} threads; roofs of this run: {:.0f} GFLOP/s fp32, {:.0f} bf16, "
      "{:.0f} GB/s\n\n",
      m.cpu, m.family, m.isa, m.threads, m.fp32_gflops, m.bf16_gflops, m.stream_gbps);
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

std::string csv(const KernelReport& report) {
  std::string text;
  for (const KernelRow& row : report.rows) {
    Json json = row_json(row);
    json.erase("ratio_vs");
    json.erase("ratio_p10");
    for (const char* peer : {"ggml f16", "ggml f32"}) {
      json[std::string("ratio_vs ") + peer] = cell(row.ratio, peer);
    }
    std::vector<std::string> keys, values;
    for (const auto& [key, value] : json.items()) {
      keys.push_back(key);
      values.push_back(value.is_string() ? value.get<std::string>() : dump(value));
    }
    if (text.empty()) text = fmt::format("{}\n", fmt::join(keys, ","));
    text += fmt::format("{}\n", fmt::join(values, ","));
  }
  return text;
}

}  // namespace

std::string jsonl_rows(const KernelReport& report, size_t first) {
  std::string text;
  for (size_t i = first; i < report.rows.size(); ++i) {
    text += dump(row_json(report.rows[i])) + "\n";
  }
  return text;
}

std::string format_report(const KernelReport& report, BenchForm form) {
  if (form == BenchForm::kMarkdown) return markdown(report);
  if (form == BenchForm::kCsv) return csv(report);
  if (form == BenchForm::kJsonl) return jsonl_rows(report, 0) + jsonl_machine(report.machine);
  Json rows = Json::array();
  for (const KernelRow& row : report.rows) rows.push_back(row_json(row));
  return dump(Json{{"machine", to_json(report.machine)}, {"rows", rows}}, 2) + "\n";
}

}  // namespace heed::eval
