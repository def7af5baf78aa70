// What the reports of all benchmarks have in common: rows as JSON, a line each, or a sheet.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "eval/bench_report.h"

namespace heed::eval {

using Json = nlohmann::ordered_json;

template <class Row>
std::vector<Json> json_rows(const std::vector<Row>& rows, Json (*to)(const Row&)) {
  std::vector<Json> all;
  for (const Row& row : rows) all.push_back(to(row));
  return all;
}

std::string json_form(const Machine& machine, const std::vector<Json>& rows);
std::string jsonl_form(const std::vector<Json>& rows, size_t first = 0);
// Columns are the keys of the first row; all rows have the same, and values that fit a field.
std::string csv_form(const std::vector<Json>& rows);
// The machine and its roofs, the line above a table.
std::string roofs_text(const Machine& machine);

}  // namespace heed::eval
