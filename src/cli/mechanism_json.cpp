#include "cli/mechanism_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "heed/policy.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* type_name(ParameterType type) {
  switch (type) {
    case ParameterType::kInt: return "int";
    case ParameterType::kFloat: return "float";
    case ParameterType::kBool: return "bool";
    case ParameterType::kChoice: return "choice";
    case ParameterType::kFile: return "file";
    case ParameterType::kBudget: return "budget";
  }
  return "?";
}

bool is_number(const Parameter& p) {
  return p.type == ParameterType::kInt || p.type == ParameterType::kFloat;
}

// A default as JSON: what a policy file would say. An infinite number is a string there.
Json standard_json(const Parameter& p) {
  const Result<Value> value = parse_value(p, p.standard);
  if (!value.is_ok() || p.standard.empty()) return nullptr;
  struct Writer {
    Json operator()(int64_t n) const { return n; }
    Json operator()(double x) const { return std::isfinite(x) ? Json(x) : Json(value_text(x)); }
    Json operator()(bool b) const { return b; }
    Json operator()(const std::string& text) const { return text; }
    Json operator()(const Budget& budget) const { return value_text(budget); }
  };
  return std::visit(Writer{}, *value);
}

Json words_json(std::string_view list) {
  Json out = Json::array();
  for (const std::string_view word : words_in(list)) out.push_back(word);
  return out;
}

void add_limits(const Parameter& p, Json& out, const char* least, const char* most) {
  if (!is_number(p)) return;
  const auto number = [&](double x) {
    return p.type == ParameterType::kInt ? Json(static_cast<int64_t>(x)) : Json(x);
  };
  out[least] = number(p.least);
  if (std::isfinite(p.most)) out[most] = number(p.most);
}

Json parameter_json(const Parameter& p) {
  Json out = {{"name", p.name}, {"type", type_name(p.type)}, {"default", standard_json(p)}};
  add_limits(p, out, "least", "most");
  if (p.type == ParameterType::kChoice) out["choices"] = words_json(p.choices);
  out["unit"] = p.unit;
  out["help"] = p.help;
  out["aliases"] = words_json(p.aliases);
  out["required"] = p.type == ParameterType::kFile && !p.optional;
  return out;
}

Json parameter_schema(const Parameter& p) {
  Json out = {{"description", p.help}};
  switch (p.type) {
    case ParameterType::kInt: out["type"] = "integer"; break;
    case ParameterType::kFloat: out["type"] = "number"; break;
    case ParameterType::kBool: out["type"] = "boolean"; break;
    case ParameterType::kChoice: out["enum"] = words_json(p.choices); break;
    case ParameterType::kFile:
    case ParameterType::kBudget: out["type"] = "string"; break;
  }
  add_limits(p, out, "minimum", "maximum");
  if (p.type == ParameterType::kFloat && !std::isfinite(p.most)) {
    out = {{"description", p.help}, {"anyOf", Json::array({out, {{"const", "inf"}}})}};
  }
  const Json standard = standard_json(p);
  if (!standard.is_null()) out["default"] = standard;
  return out;
}

Json call_schema(const Mechanism& m) {
  Json properties = {{"name", {{"const", m.name}}}}, required = Json::array({"name"});
  for (const Parameter& p : m.parameters) {
    properties[p.name] = parameter_schema(p);
    if (p.type == ParameterType::kFile && !p.optional) required.push_back(p.name);
  }
  return {{"type", "object"},
          {"description", m.summary},
          {"properties", properties},
          {"required", required},
          {"additionalProperties", false}};
}

Json stage_schema(Stage stage) {
  Json calls = Json::array({{{"type", "string"}, {"description", "NAME:key=value,..."}}});
  Json formats = Json::array();
  for (const Mechanism* m : mechanisms()) {
    if (m->stage != stage) continue;
    if (stage == Stage::kKv) {
      formats.push_back(m->name);
    } else {
      calls.push_back(call_schema(*m));
    }
  }
  if (stage == Stage::kKv) {
    const Json format = {{"enum", formats}};
    calls.push_back({{"type", "object"},
                     {"properties", {{"k", format}, {"v", format}}},
                     {"additionalProperties", false}});
  }
  return {{"description", stage_about(stage)}, {"anyOf", calls}};
}

}  // namespace

Json mechanism_json(const Mechanism& m) {
  Json parameters = Json::array(), capabilities = Json::array();
  for (const Parameter& p : m.parameters) parameters.push_back(parameter_json(p));
  for (const auto name : capability_names(m.capabilities)) capabilities.push_back(name);
  return {{"name", m.name},
          {"aliases", words_json(m.aliases)},
          {"stage", stage_name(m.stage)},
          {"summary", m.summary},
          {"idea", m.idea},
          {"formula", m.formula},
          {"paper", m.paper},
          {"cost", m.cost},
          {"needs", needs_name(m.needs)},
          {"without", m.without},
          {"capabilities", std::move(capabilities)},
          {"chunk_invariance", invariance_name(m.invariance)},
          {"row_block", m.row_block},
          {"query_aware", m.query_aware},
          {"positional", m.positional},
          {"parameters", std::move(parameters)},
          {"revision", m.revision}};
}

Json policy_schema() {
  Json stages = Json::object();
  for (const Mechanism* m : mechanisms()) {
    const char* name = stage_name(m->stage);
    if (!stages.contains(name)) stages[name] = stage_schema(m->stage);
  }
  Json overrides = {{"type", "object"}, {"properties", stages}, {"additionalProperties", false}};
  Json properties = {{"schema_version", {{"const", 1}}}, {"about", {{"type", "string"}}}};
  for (const auto& [name, schema] : stages.items()) {
    properties[name] = {{"$ref", std::string("#/$defs/stages/properties/") + name}};
  }
  properties["overrides"] = {
      {"description", "By layers and heads: L3, L0-3, L12.H3, L0-3.KV1, L*.H0-2"},
      {"type", "object"},
      {"patternProperties",
       {{R"(^(\*|L(\*|[0-9]+(-[0-9]+)?)(\.(H|KV)(\*|[0-9]+(-[0-9]+)?))?)$)",
         {{"$ref", "#/$defs/stages"}}}}},
      {"additionalProperties", false}};
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "A policy of heed"},
          {"type", "object"},
          {"properties", properties},
          {"additionalProperties", false},
          {"$defs", {{"stages", overrides}}}};
}

}  // namespace heed::cli
