#include "eval/bench_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace heed::eval {
namespace {

using Json = nlohmann::ordered_json;

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json by_peer(const std::optional<double>& value) {
  Json json = Json::object();
  if (value) json["llama.cpp"] = *value;
  return json;
}

// A CSV field holds the JSON text of its value, quoted where it needs to be.
std::string csv_field(const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>()
                     : value.is_null() ? std::string()
                                       : dump(value);
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv(const BenchReport& report) {
  std::string text;
  for (const BenchRow& row : report.rows) {
    Json json = to_json(row);
    json["ratio_vs"] = optional_json(row.ratio);  // one peer: a number reads better in a sheet
    json["ratio_p10"] = optional_json(row.ratio_p10);
    if (text.empty()) {
      for (const auto& [key, value] : json.items()) text += (text.empty() ? "" : ",") + key;
      text += '\n';
    }
    std::string line;
    for (const auto& [key, value] : json.items()) {
      if (!line.empty()) line += ',';
      line += csv_field(value);
    }
    text += line + '\n';
  }
  return text;
}

std::string ratio_cell(const BenchRow& row) {
  if (!row.ratio) return "";
  std::string cell = fmt::format("{:.2f} ({:.2f})", *row.ratio, row.ratio_p10.value_or(*row.ratio));
  if (row.predicted_ratio) cell += fmt::format(", {:.2f}", *row.ratio / *row.predicted_ratio);
  return cell;
}

std::string markdown(const BenchReport& report) {
  const Machine& m = report.machine;
  std::string text = fmt::format(
      "{} (family {}), {}, {} threads; measured here: {:.0f} GFLOP/s fp32, {:.0f} bf16, "
      "{:.0f} GOP/s int8, {:.0f} GB/s\n\n",
      m.cpu, m.family, m.isa, m.threads, m.fp32_gflops, m.bf16_gflops, m.int8_gops, m.stream_gbps);
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
      {"stream_gbps", machine.stream_gbps}};
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
  json["llama_attention_share"] = optional_json(row.attention_share);
  json["predicted_ratio"] = optional_json(row.predicted_ratio);
  json["measured_over_predicted"] =
      row.ratio && row.predicted_ratio ? Json(*row.ratio / *row.predicted_ratio) : Json();
  return json;
}

std::string jsonl_rows(const BenchReport& report, size_t first) {
  std::string text;
  for (size_t i = first; i < report.rows.size(); ++i) text += dump(to_json(report.rows[i])) + "\n";
  return text;
}

std::string jsonl_machine(const Machine& machine) {
  return dump(Json{{"machine", to_json(machine)}}) + "\n";
}

std::string format_report(const BenchReport& report, BenchForm form) {
  if (form == BenchForm::kMarkdown) return markdown(report);
  if (form == BenchForm::kCsv) return csv(report);
  if (form == BenchForm::kJsonl) return jsonl_rows(report, 0) + jsonl_machine(report.machine);
  Json rows = Json::array();
  for (const BenchRow& row : report.rows) rows.push_back(to_json(row));
  return dump(Json{{"machine", to_json(report.machine)}, {"rows", rows}}, 2) + "\n";
}

}  // namespace heed::eval
