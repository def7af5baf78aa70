// Tool calls by llama.cpp's chat code. It runs in children, and what it makes comes back as JSON.
#include "chat.h"  // of llama.cpp's common code

#include <algorithm>
#include <exception>
#include <new>
#include <set>

#include "base/guard.h"
#include "base/nearest.h"
#include "base/text.h"
#include "heed/chat.h"
#include "model/library_log.h"
#include "model/limited_child.h"
#include "model/model_impl.h"
#include "model/template.h"

namespace heed {
namespace {

constexpr size_t kLongestText = 16u << 20;

common_chat_msg message_of(const ChatTurn& turn) {
  common_chat_msg out;
  out.role = turn.role;
  out.content = turn.content;
  out.reasoning_content = turn.reasoning;
  out.tool_name = turn.tool_name;
  out.tool_call_id = turn.tool_call_id;
  for (const ToolCall& call : turn.tool_calls) {
    out.tool_calls.push_back({call.name, call.arguments, call.id});
  }
  return out;
}

common_chat_tool_choice choice_of(const ChatRequest& request) {
  if (!request.tool.empty()) return COMMON_CHAT_TOOL_CHOICE_REQUIRED;
  switch (request.choice) {
    case ToolChoice::kNone: return COMMON_CHAT_TOOL_CHOICE_NONE;
    case ToolChoice::kRequired: return COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    case ToolChoice::kAuto: break;
  }
  return COMMON_CHAT_TOOL_CHOICE_AUTO;
}

common_chat_templates_inputs inputs_of(const ChatRequest& request) {
  common_chat_templates_inputs out;
  for (const ChatTurn& turn : request.turns) out.messages.push_back(message_of(turn));
  for (const Tool& tool : request.tools) {
    // Of a tool that must be called the others need no grammar, but no template knows a name.
    if (!request.tool.empty() && tool.name != request.tool) continue;
    out.tools.push_back({tool.name, tool.description, tool.parameters});
  }
  out.tool_choice = choice_of(request);
  out.parallel_tool_calls = request.parallel;
  out.enable_thinking = request.thinking;
  out.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  out.add_generation_prompt = request.add_generation_prompt;
  return out;
}

common_json json_of(const common_chat_params& params) {
  common_json triggers = common_json::array();
  for (const common_grammar_trigger& trigger : params.grammar_triggers) {
    common_json one = common_json::object();
    one["type"] = static_cast<int>(trigger.type);
    one["text"] = trigger.value;
    one["token"] = static_cast<int>(trigger.token);
    triggers.push_back(one);
  }
  common_json syntax = common_json::object();
  syntax["format"] = static_cast<int>(params.format);
  syntax["parser"] = params.parser;
  syntax["start"] = params.generation_prompt;
  common_json out = common_json::object();
  out["prompt"] = params.prompt;
  out["grammar"] = params.grammar;
  out["lazy"] = params.grammar_lazy;
  out["triggers"] = triggers;
  out["prefill"] = params.generation_prompt;
  out["think_start"] = params.thinking_start_tag;
  out["think_ends"] = params.thinking_end_tags;
  out["stops"] = params.additional_stops;
  out["syntax"] = syntax.dump_safe();
  return out;
}

std::vector<std::string> texts(const common_json& json) {
  std::vector<std::string> out;
  for (size_t i = 0; i < json.size(); ++i) out.push_back(json.at(i).get<std::string>());
  return out;
}

GrammarTrigger trigger_of(const common_json& json) {
  GrammarTrigger out;
  switch (json.at("type").get<int>()) {
    case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN: out.kind = GrammarTrigger::Kind::kToken; break;
    case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN: out.kind = GrammarTrigger::Kind::kPattern; break;
    case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL:
      out.kind = GrammarTrigger::Kind::kWholePattern;
      break;
    default: break;
  }
  out.text = json.at("text").get<std::string>();
  out.token = json.at("token").get<int>();
  return out;
}

ChatPrompt prompt_of(const common_json& json) {
  ChatPrompt out;
  out.text = json.at("prompt").get<std::string>();
  out.stops = texts(json.at("stops"));
  out.syntax = json.at("syntax").get<std::string>();
  GrammarOptions& grammar = out.grammar;
  grammar.gbnf = json.at("grammar").get<std::string>();
  if (grammar.gbnf.empty()) return out;
  grammar.lazy = json.at("lazy").get<bool>();
  grammar.prefill = json.at("prefill").get<std::string>();
  grammar.think_start = json.at("think_start").get<std::string>();
  grammar.think_ends = texts(json.at("think_ends"));
  const common_json& triggers = json.at("triggers");
  for (size_t i = 0; i < triggers.size(); ++i) {
    grammar.triggers.push_back(trigger_of(triggers.at(i)));
  }
  return out;
}

// What a child wrote; it is llama.cpp's JSON on both sides.
template <class Read>
auto read_back(const std::string& text, Read&& read)
    -> Result<decltype(read(std::declval<const common_json&>()))> {
  try {
    return read(common_json::parse(text));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return error(Code::kInternal, "the chat code wrote what cannot be read: ", e.what());
  }
}

Result<std::string> run_text(const char* what, const std::function<std::string()>& work) {
  route_library_logs();
  silence_common_log();
  return run_limited(what, {}, [&]() -> Result<std::string> {
    try {
      return work();
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& e) {
      return error(Code::kInvalidArgument, what, ": ", e.what());
    }
  });
}

std::string tools_as_json(const std::string& text) {
  common_json parsed = common_json::parse(text);
  common_json list = common_json::array();
  for (const common_chat_tool& tool : common_chat_tools_parse_oaicompat(parsed)) {
    common_json one = common_json::object();
    one["name"] = tool.name;
    one["description"] = tool.description;
    one["parameters"] = tool.parameters;
    list.push_back(one);
  }
  return list.dump_safe();
}

std::string answer_as_json(const std::string& syntax, const std::string& answer, bool complete) {
  const common_json how = common_json::parse(syntax);
  common_chat_parser_params params;
  params.format = static_cast<common_chat_format>(how.at("format").get<int>());
  params.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  params.generation_prompt = how.at("start").get<std::string>();
  const auto parser = how.at("parser").get<std::string>();
  if (!parser.empty()) params.parser.load(parser);
  const common_chat_msg message = common_chat_parse(answer, !complete, params);
  common_json calls = common_json::array();
  for (const common_chat_tool_call& call : message.tool_calls) {
    common_json one = common_json::object();
    one["id"] = call.id;
    one["name"] = call.name;
    one["arguments"] = call.arguments;
    calls.push_back(one);
  }
  common_json out = common_json::object();
  out["content"] = message.content;
  out["reasoning"] = message.reasoning_content;
  out["calls"] = calls;
  return out.dump_safe();
}

ChatTurn turn_of(const common_json& json) {
  ChatTurn out;
  out.role = "assistant";
  out.content = json.at("content").get<std::string>();
  out.reasoning = json.at("reasoning").get<std::string>();
  const common_json& calls = json.at("calls");
  for (size_t i = 0; i < calls.size(); ++i) {
    ToolCall call{calls.at(i).at("id").get<std::string>(),
                  calls.at(i).at("name").get<std::string>(),
                  calls.at(i).at("arguments").get<std::string>()};
    if (call.id.empty()) call.id = cat("call_", i + 1);
    out.tool_calls.push_back(std::move(call));
  }
  return out;
}

Status check_length(const char* what, size_t bytes) {
  if (bytes <= kLongestText) return Status::ok();
  return error(Code::kOutOfRange, what, " of ", bytes, " bytes; at most ", kLongestText);
}

std::vector<std::string> names_of(const std::vector<Tool>& tools) {
  std::vector<std::string> out;
  for (const Tool& tool : tools) out.push_back(tool.name);
  return out;
}

Status check_choice(const ChatRequest& request) {
  if (request.tool.empty()) return Status::ok();
  ChatRequest copy = request;
  return choose_tool(request.tool, copy);
}

std::string prompt_as_json(const common_chat_templates* templates, const ChatRequest& request) {
  return json_of(common_chat_templates_apply(templates, inputs_of(request))).dump_safe();
}

}  // namespace

Result<ChatPrompt> prepare_chat(const Model& model, const ChatRequest& request) {
  return guarded("preparing the conversation", [&]() -> Result<ChatPrompt> {
    HEED_TRY(check_choice(request));
    HEED_ASSIGN(const std::string text,
                with_template(model.impl().vocab, [&](const common_chat_templates* templates) {
                  return prompt_as_json(templates, request);
                }));
    return read_back(text, prompt_of);
  });
}

Result<ChatPrompt> prepare_chat_with(const std::string& jinja, const ChatRequest& request) {
  return guarded("preparing the conversation", [&]() -> Result<ChatPrompt> {
    HEED_TRY(check_choice(request));
    HEED_ASSIGN(const std::string text,
                with_template(jinja, [&](const common_chat_templates* templates) {
                  return prompt_as_json(templates, request);
                }));
    return read_back(text, prompt_of);
  });
}

Result<ChatTurn> parse_answer(const ChatPrompt& prompt, std::string_view answer, bool complete) {
  return guarded("reading the answer", [&]() -> Result<ChatTurn> {
    HEED_TRY(check_length("an answer", answer.size()));
    HEED_ASSIGN(const std::string text, run_text("the answer", [&] {
                  return answer_as_json(prompt.syntax, std::string(answer), complete);
                }));
    return read_back(text, turn_of);
  });
}

Result<std::vector<Tool>> parse_tools(std::string_view json) {
  return guarded("reading the tools", [&]() -> Result<std::vector<Tool>> {
    HEED_TRY(check_length("tools", json.size()));
    HEED_ASSIGN(const std::string text,
                run_text("the tools", [&] { return tools_as_json(std::string(json)); }));
    const auto read = [](const common_json& list) {
      std::vector<Tool> tools;
      for (size_t i = 0; i < list.size(); ++i) {
        tools.push_back({list.at(i).at("name").get<std::string>(),
                         list.at(i).at("description").get<std::string>(),
                         list.at(i).at("parameters").get<std::string>()});
      }
      return tools;
    };
    HEED_ASSIGN(std::vector<Tool> tools, read_back(text, read));
    std::set<std::string> seen;
    for (const Tool& tool : tools) {
      if (tool.name.empty()) return Status(Code::kInvalidArgument, "the tools: one has no name");
      if (!seen.insert(tool.name).second) {
        return error(Code::kInvalidArgument, "the tools: '", tool.name, "' is there twice");
      }
    }
    return tools;
  });
}

Status choose_tool(std::string_view word, ChatRequest& request) {
  request.tool.clear();
  request.choice = ToolChoice::kAuto;
  if (word == "auto") return Status::ok();
  if (word == "none" || word == "required") {
    request.choice = word == "none" ? ToolChoice::kNone : ToolChoice::kRequired;
    return Status::ok();
  }
  std::vector<std::string> names = names_of(request.tools);
  if (std::find(names.begin(), names.end(), word) != names.end()) {
    request.tool = word;
    return Status::ok();
  }
  names.insert(names.end(), {"auto", "none", "required"});
  const std::string near = nearest_name(std::string(word), names);
  return error(Code::kInvalidArgument, "no tool is called '", word,
               "'; known are auto, none, required and the tools' names",
               near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

}  // namespace heed
