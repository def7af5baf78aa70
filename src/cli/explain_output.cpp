#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/number_ranges.h"
#include "base/units.h"
#include "cli/explain_facts.h"
#include "cli/model_source.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string density_text(const std::optional<Work>& density) {
  if (!density) return "unknown";
  const std::string least = fmt::format("{:.3g}", density->least);
  const std::string most = fmt::format("{:.3g}", density->most);
  return least == most ? least : fmt::format("{} to {}", least, most);
}

std::string known_hash(const std::optional<uint64_t>& hash) {
  return hash ? hash_text(*hash) : std::string("unknown");
}

std::string policy_text(const Policy& policy) {
  const std::string text = policy.text();
  return text.empty() ? "dense, in the model's own formats" : printable(text);
}

// Without a model: what is named, with what it is.
void print_parts(const Policy& policy) {
  for (const Assignment& a : policy.assignments()) {
    const std::string at = a.where.everywhere() ? "" : "@" + a.where.text();
    for (const Setting& s : a.chain) {
      if (s.mechanism == nullptr) continue;
      fmt::print("{:<9} {}{}: {}\n", stage_name(a.stage), printable(setting_text(s)), at,
                 s.mechanism->summary);
    }
  }
}

void print_rows(const ExplainedModel& model) {
  std::vector<std::array<std::string, 6>> cells = {
      {"layers", "heads", "window", "density", "prefill", "correct"}};
  for (const ExplainRow& row : model.rows) {
    cells.push_back({number_ranges(row.layers), number_ranges(row.heads),
                     row.window > 0 ? fmt::format("{}", row.window) : "all",
                     density_text(row.density), printable(row.prefill),
                     row.correct.empty() ? "none" : printable(row.correct)});
  }
  std::array<size_t, 6> width{};
  for (const auto& line : cells) {
    for (size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  }
  fmt::print("\n");
  for (const auto& line : cells) {
    fmt::print("{:<{}}  {:<{}}  {:>{}}  {:>{}}  {:<{}}  {}\n", line[0], width[0], line[1], width[1],
               line[2], width[2], line[3], width[3], line[4], width[4], line[5]);
  }
}

void print_model(const ExplainedModel& model, int chunk) {
  fmt::print("model     {}\n", model_title(model.info));
  fmt::print("prompt    {} tokens in {} chunks of {}\n", model.tokens,
             (model.tokens + chunk - 1) / chunk, chunk);
  print_rows(model);
  fmt::print("\npages     K {}, V {}: {} of the prompt\n", format_name(*model.engine.k),
             format_name(*model.engine.v), bytes_text(model.memory.kv));
  fmt::print("peak      {}, {}-major\n", bytes_text(model.memory.peak),
             prefill_order_name(model.memory.order));
}

void print_verdict(const std::vector<Finding>& findings) {
  fmt::print("verdict   {}\n", verdict_name(worst(findings)));
  for (const Finding& f : findings) {
    fmt::print("          {} because {}\n", verdict_name(f.verdict), printable(f.text));
  }
}

Json density_json(const std::optional<Work>& density) {
  if (!density) return nullptr;
  return {{"least", density->least}, {"most", density->most}};
}

Json model_json(const ExplainedModel& model) {
  Json rows = Json::array();
  for (const ExplainRow& row : model.rows) {
    rows.push_back({{"layers", row.layers},
                    {"heads", row.heads},
                    {"window", row.window},
                    {"prefill", row.prefill},
                    {"correct", row.correct},
                    {"density", density_json(row.density)}});
  }
  return {{"path", model.info.path},
          {"name", model.info.name},
          {"architecture", model.info.architecture},
          {"prompt", model.tokens},
          {"rows", std::move(rows)},
          {"k_format", format_name(*model.engine.k)},
          {"v_format", format_name(*model.engine.v)},
          {"memory",
           {{"committed", model.memory.kv},
            {"peak", model.memory.peak},
            {"prefill_order", prefill_order_name(model.memory.order)},
            {"available", known(model.memory.available)}}}};
}

}  // namespace

void print_explanation(const Explanation& e) {
  fmt::print("policy    {}\n", policy_text(e.policy));
  fmt::print("hash      {}, of what alters keys and values {}\n", known_hash(e.hash),
             known_hash(e.kv_hash));
  if (e.model) {
    print_model(*e.model, e.chunk);
  } else {
    print_parts(e.policy);
  }
  print_verdict(e.findings);
}

Json explanation_json(const Explanation& e) {
  Json because = Json::array();
  for (const Finding& f : e.findings) {
    because.push_back({{"verdict", verdict_name(f.verdict)},
                       {"stage", stage_name(f.stage)},
                       {"rule", f.rule},
                       {"text", f.text}});
  }
  const auto hash_json = [](const std::optional<uint64_t>& hash) {
    return hash ? Json(hash_text(*hash)) : Json();
  };
  return {{"policy", e.policy.text()},
          {"hash", hash_json(e.hash)},
          {"kv_hash", hash_json(e.kv_hash)},
          {"chunk", e.chunk},
          {"verdict", verdict_name(worst(e.findings))},
          {"because", std::move(because)},
          {"model", e.model ? model_json(*e.model) : Json()}};
}

}  // namespace heed::cli
