#include <fmt/format.h>

#include "eval/bench_linears.h"
#include "eval/row_forms.h"

namespace heed::eval {
namespace {

constexpr const char* kPeers[] = {"ggml plain", "ggml repack"};

Json row_json(const LinearRow& row) {
  Json json = {{"engine", row.engine},
               {"type", weight_type_name(row.shape.type)},
               {"inputs", row.shape.size.inputs},
               {"outputs", row.shape.size.outputs},
               {"rows", row.shape.rows},
               {"rounds", row.rounds},
               {"copies", row.copies},
               {"median_s", row.median_s},
               {"p10_s", row.p10_s},
               {"p90_s", row.p90_s},
               {"gops", row.gops},
               {"gbps", row.gbps},
               {"roof", roof_name(row.roof)},
               {"roof_share", row.roof_share ? Json(*row.roof_share) : Json()},
               {"paired_share", row.paired_share ? Json(*row.paired_share) : Json()},
               {"error", row.error},
               {"ratio_vs", row.ratio},
               {"ratio_p10", row.ratio_p10}};
  json["better_peer"] = row.better.empty() ? Json() : Json(row.better);
  return json;
}

Json flat_json(const LinearRow& row) {
  Json json = row_json(row);
  json.erase("ratio_vs");
  json.erase("ratio_p10");
  for (const char* peer : kPeers) {
    const auto found = row.ratio.find(peer);
    json[fmt::format("ratio_vs {}", peer)] =
        found == row.ratio.end() ? Json() : Json(found->second);
  }
  return json;
}

std::string ratio_cell(const LinearRow& row) {
  if (row.better.empty()) return "";
  return fmt::format("{:.2f} ({:.2f}) {}", row.ratio.at(row.better), row.ratio_p10.at(row.better),
                     row.better.substr(row.better.find(' ') + 1));
}

std::string markdown(const LinearReport& report) {
  std::string text = roofs_text(report.machine);
  text +=
      "| weight | rows | engine | median ms (p10–p90) | GOP/s | GB/s | share of roof | error "
      "| × ggml's better path (p10) |\n|---|---|---|---|---|---|---|---|---|\n";
  for (const LinearRow& row : report.rows) {
    const LinearSize& size = row.shape.size;
    std::string share =
        row.roof_share ? fmt::format("{:.0f} % {}", *row.roof_share * 100, roof_name(row.roof))
                       : fmt::format("no {}", roof_name(row.roof));
    if (row.paired_share) share += fmt::format(" ({:.0f} % paired)", *row.paired_share * 100);
    text += fmt::format(
        "| {} {}x{} | {} | {} | {:.3f} ({:.3f}–{:.3f}) | {:.0f} | {:.1f} | {} | "
        "{:.2e} | {} |\n",
        weight_type_name(row.shape.type), size.inputs, size.outputs, row.shape.rows, row.engine,
        row.median_s * 1e3, row.p10_s * 1e3, row.p90_s * 1e3, row.gops, row.gbps, share, row.error,
        ratio_cell(row));
  }
  return text;
}

}  // namespace

std::string jsonl_rows(const LinearReport& report, size_t first) {
  return jsonl_form(json_rows(report.rows, row_json), first);
}

std::string format_report(const LinearReport& report, BenchForm form) {
  if (form == BenchForm::kMarkdown) return markdown(report);
  if (form == BenchForm::kCsv) return csv_form(json_rows(report.rows, flat_json));
  if (form == BenchForm::kJsonl) return jsonl_rows(report, 0) + jsonl_machine(report.machine);
  return json_form(report.machine, json_rows(report.rows, row_json));
}

}  // namespace heed::eval
