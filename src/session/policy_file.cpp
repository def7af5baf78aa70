#include "heed/policy_file.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/in_quotes.h"
#include "base/nearest.h"
#include "base/read_file.h"
#include "base/text.h"
#include "policy/syntax.h"
#include "policy/where.h"

namespace heed {
namespace {

using Json = nlohmann::ordered_json;

// JSON without the two freedoms that would let a policy say less than was written: a key given
// twice, and depth without end.
Result<Json> strict_json(std::string_view text) {
  constexpr int kDepth = 8;
  std::vector<std::set<std::string>> keys;
  std::string twice;
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty() &&
        !keys.back().insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    deep |= depth > kDepth;
    return !deep;
  };
  Json json = Json::parse(text, watch, false);
  if (deep) {
    return error(Code::kInvalidArgument, "objects stand in each other more than ", kDepth, " deep");
  }
  if (json.is_discarded() || !json.is_object()) {
    return Status(Code::kInvalidArgument,
                  "it is not a JSON object like {\"prefill\": \"a_shape\"}");
  }
  if (!twice.empty()) {
    return error(Code::kInvalidArgument, in_quotes(twice), " is given twice, must be given once");
  }
  return json;
}

Status wrong(std::string_view what, const Json& value, std::string_view valid) {
  return error(Code::kInvalidArgument, what, " is ",
               in_quotes(value.dump(-1, ' ', false, Json::error_handler_t::replace)), ", must be ",
               valid);
}

// A value as policies write it.
Result<std::string> value_of(const std::string& what, const Json& value) {
  if (value.is_string()) return quote_value(value.get<std::string>());
  if (value.is_number() || value.is_boolean()) return value.dump();
  return wrong(what, value, "a number, true, false or a string");
}

// Text in place of which no other text could end the part of the policy that it stands in.
Result<std::string> spec_text(const std::string& what, const Json& value) {
  auto text = value.get<std::string>();
  const Status closed = check_quotes(text);
  if (!closed.is_ok()) return closed.with_context(what);
  if (split(text, ';').size() != 1) {
    return wrong(what, value, "one mechanism; the ; belongs to another key of the file");
  }
  return text;
}

// "NAME:key=value" of a string or an object with "name".
Result<std::string> call_of(const std::string& what, const Json& value) {
  if (value.is_string()) return spec_text(what, value);
  const bool named = value.is_object() && value.contains("name") && value["name"].is_string();
  if (!named) return wrong(what, value, "a string or an object with \"name\"");
  std::string text = quote_value(value["name"].get<std::string>());
  char separator = ':';
  for (const auto& [key, parameter] : value.items()) {
    if (key == "name") continue;
    HEED_ASSIGN(const std::string written, value_of(cat(what, ": ", in_quotes(key)), parameter));
    text += cat(separator, quote_value(key), "=", written);
    separator = ',';
  }
  return text;
}

Result<std::string> chain_of(const std::string& stage, const Json& value) {
  if (!value.is_array()) return call_of(stage, value);
  std::string text;
  for (const Json& part : value) {
    HEED_ASSIGN(const std::string call, call_of(stage, part));
    text += (text.empty() ? "" : "+") + call;
  }
  return text;
}

Result<std::string> formats_of(const Json& value) {
  if (!value.is_object()) return chain_of("kv", value);
  std::string text;
  for (const auto& [key, format] : value.items()) {
    if (!format.is_string()) return wrong(cat("kv: ", in_quotes(key)), format, "a format's name");
    HEED_ASSIGN(const std::string name, spec_text("kv", format));
    text += cat(text.empty() ? "" : ",", quote_value(key), ":", name);
  }
  return text;
}

// The stages of an object, at `place` ("" or "@L0-3").
Status add_stages(const Json& stages, const std::string& place, std::string& text) {
  for (const auto& [key, value] : stages.items()) {
    if (place.empty() && (key == "overrides" || key == "schema_version" || key == "about")) {
      continue;
    }
    HEED_ASSIGN(const std::string chain, key == "kv" ? formats_of(value) : chain_of(key, value));
    text += cat(text.empty() ? "" : ";", quote_value(key), place, "=", chain);
  }
  return Status::ok();
}

Result<std::string> text_of(const Json& json) {
  if (json.contains("schema_version") && json["schema_version"] != 1) {
    return wrong("schema_version", json["schema_version"], "1");
  }
  std::string text;
  HEED_TRY(add_stages(json, "", text));
  if (!json.contains("overrides")) return text;
  const Json& overrides = json["overrides"];
  if (!overrides.is_object()) return wrong("overrides", overrides, "an object of places");
  for (const auto& [place, stages] : overrides.items()) {
    const Result<Where> where = parse_where(place);
    if (!where.is_ok()) return where.status().with_context("overrides");
    if (!stages.is_object()) return wrong(cat("overrides: ", place), stages, "an object of stages");
    HEED_TRY(add_stages(stages, "@" + place, text));
  }
  return text;
}

// A level of the precedence: the text that was typed with the stages beside it.
Result<Policy> level_of(const PolicyWords& words) {
  std::string text = is_policy_text(words.policy) ? words.policy : std::string();
  for (const auto& [stage, spec] : words.stages) {
    if (split(spec, ';').size() != 1) {
      return error(Code::kInvalidArgument, stage_name(stage), " is ", in_quotes(spec),
                   ", must be one mechanism; several parts with ; belong to --policy");
    }
    Result<Policy> alone = Policy::parse(cat(stage_name(stage), "=", spec));
    // Its own faults first: in the whole they would be told as another part's.
    if (!alone.is_ok()) return alone;
    text += cat(text.empty() ? "" : ";", stage_name(stage), "=", spec);
  }
  return Policy::parse(text);
}

}  // namespace

Result<Policy> policy_of_json(std::string_view text, const std::string& name) {
  const auto parsed = [&]() -> Result<Policy> {
    HEED_ASSIGN(const Json json, strict_json(text));
    HEED_ASSIGN(const std::string policy, text_of(json));
    return Policy::parse(policy);
  }();
  return parsed.is_ok() ? parsed : parsed.status().with_context(cat("policy ", in_quotes(name)));
}

Result<Policy> load_policy(const std::string& typed) {
  if (is_policy_text(typed) || typed.empty()) return Policy::parse(typed);
  if (const Preset* preset = find_preset(typed)) return Policy::parse(preset->text);
  const Result<std::string> bytes = read_file(typed, cat("policy ", in_quotes(typed)));
  if (bytes.is_ok()) return policy_of_json(*bytes, typed);
  if (bytes.code() != Code::kNotFound || typed.ends_with(".json")) return bytes.status();
  std::vector<std::string_view> names;
  std::string list;
  for (const Preset& preset : presets()) {
    names.emplace_back(preset.name);
    list += (list.empty() ? "" : ", ") + std::string(preset.name);
  }
  const std::string near = nearest_name(typed, names);
  return error(Code::kNotFound, "policy is ", in_quotes(typed), ", must be a preset (", list,
               "), a file, or STAGE=NAME;...",
               near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

Result<Policy> settle_policy(const PolicyWords& command_line, const PolicyWords& environment) {
  // --policy on the command line takes the place of the variable of the same name.
  PolicyWords below = environment;
  if (!command_line.policy.empty()) below.policy.clear();
  Policy file;
  for (const std::string& typed : {command_line.policy, below.policy}) {
    if (typed.empty() || is_policy_text(typed)) continue;
    HEED_ASSIGN(file, load_policy(typed));
  }
  HEED_ASSIGN(const Policy above, level_of(command_line));
  HEED_ASSIGN(const Policy between, level_of(below));
  return above.over(between.over(file));
}

}  // namespace heed
