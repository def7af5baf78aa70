// From a policy's text to assignments.
#include <algorithm>

#include "base/in_quotes.h"
#include "base/nearest.h"
#include "base/text.h"
#include "mechanisms/row.h"
#include "policy/syntax.h"
#include "policy/where.h"

namespace heed {
namespace {

template <class Names>
std::string joined(const Names& names) {
  std::string out;
  for (const auto& name : names) {
    out += out.empty() ? "" : ", ";
    out += name;
  }
  return out;
}

template <class Names>
std::string hint(std::string_view name, const Names& names) {
  const std::string near = nearest_name(name, names);
  return near.empty() || near == name ? "" : cat("; did you mean '", near, "'?");
}

std::vector<std::string_view> stages_of(const Registry& registry) {
  std::vector<std::string_view> names;
  for (int i = 0; i < kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (!registry.of(stage).empty()) names.emplace_back(stage_name(stage));
  }
  return names;
}

std::vector<std::string_view> names_of(const Registry& registry, Stage stage, bool wrappers) {
  std::vector<std::string_view> names;
  for (const Mechanism* m : registry.of(stage)) {
    if (((m->capabilities & kWrapper) != 0) == wrappers) names.push_back(m->name);
  }
  return names;
}

Result<Stage> parse_stage(std::string_view name, const Registry& registry) {
  const auto present = stages_of(registry);
  for (int i = 0; i < kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (name != stage_name(stage)) continue;
    if (!registry.of(stage).empty()) return stage;
    return error(Code::kUnsupported, "the stage ", name, " is not in this build, which has ",
                 joined(present));
  }
  return error(Code::kInvalidArgument, in_quotes(name), " is no stage, must be one of ",
               joined(present), hint(name, present));
}

// One NAME[:value,key=value,...] of a stage.
class CallParser {
 public:
  CallParser(const Registry& registry, Stage stage) : registry_(registry), stage_(stage) {}

  Result<Setting> parse(std::string_view text, bool wrapper) {
    std::string_view name, arguments;
    const bool has_arguments = cut(text, ':', &name, &arguments);
    HEED_ASSIGN(const Mechanism* mechanism, find(name, wrapper));
    Setting setting = default_setting(*mechanism);
    std::vector<bool> given(setting.values.size());
    if (has_arguments) {
      const Status read = read_arguments(arguments, setting, given);
      if (!read.is_ok()) return in(*mechanism, read);
    }
    for (size_t i = 0; i < given.size(); ++i) {
      const Parameter& p = mechanism->parameters[i];
      if (given[i] || p.type != ParameterType::kFile || p.optional) continue;
      return in(*mechanism, error(Code::kInvalidArgument, p.name, " is not given, must be ",
                                  valid_values(p), " (", p.name, "=FILE)"));
    }
    if (mechanism->check != nullptr) {
      const Status fits = mechanism->check(setting);
      if (!fits.is_ok()) return in(*mechanism, fits);
    }
    return setting;
  }

 private:
  Status in(const Mechanism& mechanism, const Status& status) const {
    return status.with_context(cat(stage_name(stage_), "=", mechanism.name));
  }

  Result<const Mechanism*> find(std::string_view name, bool wrapper) const {
    const Mechanism* found = registry_.find(name);
    if (found != nullptr && found->stage == stage_ &&
        ((found->capabilities & kWrapper) != 0) == wrapper) {
      return found;
    }
    auto names = names_of(registry_, stage_, wrapper);
    if (!wrapper && stage_ != Stage::kPrefill && stage_ != Stage::kKv) names.push_back("none");
    if (found != nullptr && found->stage != stage_) {
      return error(Code::kInvalidArgument, stage_name(stage_), " is ", in_quotes(name),
                   ", which belongs to ", stage_name(found->stage), "; it must be one of ",
                   joined(names));
    }
    if (wrapper) {
      return error(Code::kInvalidArgument, stage_name(stage_), " has ", in_quotes(name),
                   " behind a +, ",
                   names.empty() ? cat("where nothing may stand: ", stage_name(stage_),
                                       " has no wrappers in this build")
                                 : cat("which must be one of ", joined(names)),
                   hint(name, names));
    }
    return error(Code::kInvalidArgument, stage_name(stage_), " is ", in_quotes(name),
                 ", must be one of ", joined(names), hint(plain_name(name), names));
  }

  static Status read_arguments(std::string_view text, Setting& setting, std::vector<bool>& given) {
    const Mechanism& mechanism = *setting.mechanism;
    std::vector<std::string_view> names;
    for (const Parameter& p : mechanism.parameters) names.push_back(p.name);
    if (names.empty()) {
      return error(Code::kInvalidArgument, "it has no parameters, and ", in_quotes(text),
                   " must be left out");
    }
    bool first = true;
    for (const std::string_view argument : split(text, ',')) {
      std::string_view key, value;
      if (!cut(argument, '=', &key, &value)) {
        if (!first || mechanism.positional.empty() || argument.empty()) {
          return error(Code::kInvalidArgument, in_quotes(argument),
                       " has no name before it, must be NAME=VALUE with one of ", joined(names));
        }
        key = mechanism.positional;
        value = argument;
      }
      first = false;
      const int index = mechanism.index_of(plain_name(key));
      if (index < 0) {
        return error(Code::kInvalidArgument, in_quotes(key), " is no parameter, must be one of ",
                     joined(names), hint(plain_name(key), names));
      }
      const auto at = static_cast<size_t>(index);
      if (given[at]) {
        return error(Code::kInvalidArgument, names[at], " is given twice, the second time as ",
                     in_quotes(value), "; it must be ", valid_values(mechanism.parameters[at]));
      }
      given[at] = true;
      HEED_ASSIGN(const std::string plain, unquote(value));
      HEED_ASSIGN(setting.values[at], parse_value(mechanism.parameters[at], plain));
    }
    return Status::ok();
  }

  const Registry& registry_;
  Stage stage_;
};

Status no_formats(std::string_view text, const Registry& registry) {
  return error(Code::kInvalidArgument, "kv is ", in_quotes(text),
               ", must be k:FORMAT,v:FORMAT or one of both, with ",
               joined(names_of(registry, Stage::kKv, false)));
}

// k:FORMAT,v:FORMAT.
Result<std::vector<Setting>> parse_formats(std::string_view text, const Registry& registry) {
  std::vector<Setting> chain(2);
  for (const std::string_view part : split(text, ',')) {
    std::string_view which, format;
    if (!cut(part, ':', &which, &format) || (which != "k" && which != "v")) {
      return no_formats(text, registry);
    }
    Setting& setting = chain[which == "k" ? 0 : 1];
    if (setting.mechanism != nullptr) {
      return error(Code::kInvalidArgument, "kv: ", which, " is given twice, the second time as ",
                   in_quotes(format), "; it must be one of ",
                   joined(names_of(registry, Stage::kKv, false)));
    }
    auto parsed = CallParser(registry, Stage::kKv).parse(format, false);
    if (!parsed.is_ok()) {
      const auto names = names_of(registry, Stage::kKv, false);
      return error(Code::kInvalidArgument, "kv: ", which, " is ", in_quotes(format),
                   ", must be one of ", joined(names), hint(format, names));
    }
    setting = *std::move(parsed);
  }
  return chain;
}

Result<std::vector<Setting>> parse_chain(Stage stage, std::string_view text,
                                         const Registry& registry) {
  if (stage == Stage::kKv) return parse_formats(text, registry);
  std::vector<Setting> chain;
  if (text == "none" && stage != Stage::kPrefill) return chain;
  for (const std::string_view part : split(text, '+')) {
    HEED_ASSIGN(Setting setting, CallParser(registry, stage).parse(part, !chain.empty()));
    chain.push_back(std::move(setting));
  }
  return chain;
}

Status add(std::vector<Assignment>& all, Assignment next) {
  for (const Assignment& other : all) {
    if (other.stage != next.stage || other.where.rank() != next.where.rank() ||
        !other.where.overlaps(next.where)) {
      continue;
    }
    const char* stage = stage_name(next.stage);
    if (next.where.everywhere()) {
      return error(Code::kInvalidArgument, stage, " is given twice; say it once, with @ for ",
                   "the layers that differ");
    }
    return error(Code::kInvalidArgument, stage, " is given twice for the same heads, at ",
                 other.where.text(), " and at ", next.where.text());
  }
  if (all.size() >= Policy::kMostAssignments) {
    return error(Code::kInvalidArgument, "the policy has more than ", Policy::kMostAssignments,
                 " parts, must have that many at most");
  }
  all.push_back(std::move(next));
  return Status::ok();
}

Status parse_assignment(std::string_view text, const Registry& registry,
                        std::vector<Assignment>& all) {
  std::string_view key, spec, name, places;
  if (text.empty()) {
    return Status(Code::kInvalidArgument,
                  "a part of the policy is empty, must be STAGE=NAME; is there a ; too many?");
  }
  if (!cut(text, '=', &key, &spec)) {
    return error(Code::kInvalidArgument, in_quotes(text), " is no part of a policy, must be ",
                 "STAGE=NAME, with a stage of ", joined(stages_of(registry)));
  }
  const bool placed = cut(key, '@', &name, &places);
  HEED_ASSIGN(const Stage stage, parse_stage(name, registry));
  HEED_ASSIGN(const std::vector<Setting> chain, parse_chain(stage, spec, registry));
  if (!placed) return add(all, {stage, {}, chain});
  for (const std::string_view place : split(places, ',')) {
    const Result<Where> where = parse_where(place);
    if (!where.is_ok()) return where.status().with_context(cat(name, "@"));
    HEED_TRY(add(all, {stage, *where, chain}));
  }
  return Status::ok();
}

bool before(const Assignment& a, const Assignment& b) {
  const auto key = [](const Assignment& x) {
    const Where& w = x.where;
    return std::tuple(x.stage, w.rank(), w.first_layer, w.last_layer, w.first_head, w.last_head);
  };
  return key(a) < key(b);
}

}  // namespace

Result<Policy> Policy::parse(std::string_view text) { return parse(text, registry()); }

Result<Policy> Policy::parse(std::string_view text, const Registry& registry) {
  Policy policy;
  if (text.size() > kMostText) {
    return error(Code::kInvalidArgument, "the policy has ", text.size(), " bytes, must have ",
                 kMostText, " at most");
  }
  text = trimmed(text);
  if (text.empty()) return policy;
  HEED_TRY(check_quotes(text));
  for (const std::string_view part : split(text, ';')) {
    HEED_TRY(parse_assignment(part, registry, policy.assignments_));
  }
  std::ranges::sort(policy.assignments_, before);
  return policy;
}

bool is_policy_text(std::string_view text) {
  std::string_view key, spec, name, places;
  if (!cut(trimmed(text), '=', &key, &spec)) return false;
  cut(key, '@', &name, &places);
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c >= 'a' && c <= 'z'; });
}

}  // namespace heed
