#include "eval/row_forms.h"

#include <fmt/format.h>

namespace heed::eval {
namespace {

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

}  // namespace

std::string json_form(const Machine& machine, const std::vector<Json>& rows) {
  return dump(Json{{"machine", to_json(machine)}, {"rows", rows}}, 2) + "\n";
}

std::string jsonl_form(const std::vector<Json>& rows, size_t first) {
  std::string text;
  for (size_t i = first; i < rows.size(); ++i) text += dump(rows[i]) + "\n";
  return text;
}

std::string csv_form(const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows) {
    std::vector<std::string> keys, values;
    for (const auto& [key, value] : row.items()) {
      keys.push_back(key);
      values.push_back(csv_field(value));
    }
    if (text.empty()) text = fmt::format("{}\n", fmt::join(keys, ","));
    text += fmt::format("{}\n", fmt::join(values, ","));
  }
  return text;
}

std::string roofs_text(const Machine& m) {
  return fmt::format(
      "{} (family {}), {} (ggml: {}), {} threads; measured here: {:.0f} GFLOP/s fp32, {:.0f} bf16, "
      "{:.0f} GOP/s int8, {:.0f} GB/s\n\n",
      m.cpu, m.family, m.isa, m.ggml, m.threads, m.fp32_gflops, m.bf16_gflops, m.int8_gops,
      m.stream_gbps);
}

}  // namespace heed::eval
