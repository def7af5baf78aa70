#include "eval/bench_report.h"

#include <fmt/format.h>

#include "eval/row_forms.h"

namespace heed::eval {
namespace {

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json by_peer(const std::optional<double>& value) {
  Json json = Json::object();
  if (value) json["llama.cpp"] = *value;
  return json;
}

// For a sheet: one peer, so a number reads better than an object.
Json flat_json(const BenchRow& row) {
  Json json = to_json(row);
  json["ratio_vs"] = optional_json(row.ratio);
  json["ratio_p10"] = optional_json(row.ratio_p10);
  return json;
}

std::string ratio_cell(const BenchRow& row) {
  if (!row.ratio) return "";
  std::string cell = fmt::format("{:.2f} ({:.2f})", *row.ratio, row.ratio_p10.value_or(*row.ratio));
  if (row.predicted_ratio) cell += fmt::format(", {:.2f}", *row.ratio / *row.predicted_ratio);
  return cell;
}

std::string markdown(const BenchReport& report) {
  std::string text = roofs_text(report.machine);
  text +=
      "| model | engine | test | depth | tokens/s | p10–p90 s | rounds | KV MiB | KL to reference "
      "| × llama.cpp (p10), measured ÷ predicted |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const BenchRow& row : report.rows) {
    text +=
        fmt::format("| {} | {} | {}{} | {} | {:.1f} | {:.3g}–{:.3g} | {} | {:.1f} | {} | {} |\n",
                    row.model, row.engine, row.test, row.beyond_context ? " (beyond context)" : "",
                    row.depth, row.tokens_per_s, row.p10_s, row.p90_s, row.repeats,
                    static_cast<double>(row.kv_bytes) / (1024.0 * 1024.0),
                    row.kl_vs_ref ? fmt::format("{:.2e}", *row.kl_vs_ref) : "–", ratio_cell(row));
  }
  for (const BenchRow& row : report.rows) {
    if (text.find(row.config) == std::string::npos) {
      text += fmt::format("\n{}: {}", row.engine, row.config);
    }
  }
  return text + "\n";
}

}  // namespace

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const Machine& machine) {
  return {
      {"cpu", machine.cpu},
      {"family", machine.family},
      {"isa", machine.isa},
      {"threads", machine.threads},
      {"peak_gflops",
       {{"fp32", machine.fp32_gflops}, {"bf16", machine.bf16_gflops}, {"int8", machine.int8_gops}}},
      {"stream_gbps", machine.stream_gbps},
      {"ggml", machine.ggml}};
}

Json to_json(const BenchRow& row) {
  Json json = {{"model", row.model},
               {"engine", row.engine},
               {"policy", row.policy},
               {"test", row.test},
               {"depth", row.depth},
               {"n", row.n},
               {"repeats", row.repeats},
               {"median_s", row.median_s},
               {"p10_s", row.p10_s},
               {"p90_s", row.p90_s},
               {"tokens_per_s", row.tokens_per_s},
               {"kv_bytes", row.kv_bytes},
               {"kl_vs_ref", optional_json(row.kl_vs_ref)},
               {"beyond_context", row.beyond_context},
               {"ratio_vs", by_peer(row.ratio)},
               {"ratio_p10", by_peer(row.ratio_p10)},
               {"config", row.config}};
  json["attention_s"] = optional_json(row.attention_s);
  json["llama_attention_share"] = optional_json(row.attention_share);
  json["predicted_ratio"] = optional_json(row.predicted_ratio);
  json["measured_over_predicted"] =
      row.ratio && row.predicted_ratio ? Json(*row.ratio / *row.predicted_ratio) : Json();
  return json;
}

std::string jsonl_rows(const BenchReport& report, size_t first) {
  return jsonl_form(json_rows<BenchRow>(report.rows, to_json), first);
}

std::string jsonl_machine(const Machine& machine) {
  return dump(Json{{"machine", to_json(machine)}}) + "\n";
}

std::string format_report(const BenchReport& report, BenchForm form) {
  if (form == BenchForm::kMarkdown) return markdown(report);
  if (form == BenchForm::kCsv) return csv_form(json_rows(report.rows, flat_json));
  if (form == BenchForm::kJsonl) return jsonl_rows(report, 0) + jsonl_machine(report.machine);
  return json_form(report.machine, json_rows<BenchRow>(report.rows, to_json));
}

}  // namespace heed::eval
