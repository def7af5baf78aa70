// Conversations with tools, through the model's own chat template (llama.cpp's engine): the prompt
// that describes the tools, the grammar that holds calls to their schemas, and the answer read back
// into content, reasoning and calls.
//
//   HEED_ASSIGN(const auto tools, parse_tools(file));      // OpenAI's "tools"
//   HEED_ASSIGN(const auto prompt, prepare_chat(*model, {.turns = ..., .tools = tools}));
//   options.sampler.grammar = prompt.grammar;               // and options.stops = prompt.stops
//   ... generate() ...
//   HEED_ASSIGN(const ChatTurn turn, parse_answer(prompt, generation.text));
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "heed/model.h"
#include "heed/sampling.h"

namespace heed {

struct ToolCall {
  std::string id;         // never empty in an answer; "call_1" where the model names none
  std::string name;       // of the tool
  std::string arguments;  // a JSON object as text

  bool operator==(const ToolCall&) const = default;
};

struct ChatTurn {
  std::string role = {};  // "system", "user", "assistant", "tool"
  std::string content = {};
  std::string reasoning = {};                     // of the assistant, apart from what it says
  std::vector<ToolCall> tool_calls = {};          // of the assistant
  std::string tool_call_id = {}, tool_name = {};  // of a tool's result
};

struct Tool {
  std::string name, description;
  std::string parameters;  // JSON schema of the arguments
};

enum class ToolChoice : uint8_t {
  kAuto,      // the model decides
  kNone,      // the tools are described, no call is made
  kRequired,  // at least one call
};

struct ChatRequest {
  std::vector<ChatTurn> turns;
  std::vector<Tool> tools;
  ToolChoice choice = ToolChoice::kAuto;
  std::string tool;       // the one that must be called; empty: any
  bool parallel = false;  // several calls in one answer
  bool thinking = true;   // where the template has a switch
  bool add_generation_prompt = true;
};

struct ChatPrompt {
  std::string text;
  GrammarOptions grammar;          // empty where the template's calls have no form of their own
  std::vector<std::string> stops;  // texts that end an answer
  std::string syntax;              // how answers are read, for parse_answer
};

// Errors: no template, one that fails, a tool that cannot be expressed, an unknown `tool`.
Result<ChatPrompt> prepare_chat(const Model& model, const ChatRequest& request);

// `complete` false: the answer may go on, and half a call is kept as far as it is understood.
// Errors: a complete answer that does not have the template's form.
Result<ChatTurn> parse_answer(const ChatPrompt& prompt, std::string_view answer,
                              bool complete = true);

// The "tools" array of OpenAI's chat API. Errors: no JSON, no such array, names used twice.
Result<std::vector<Tool>> parse_tools(std::string_view json);

// "auto", "none", "required", or the name of one of `tools`. Errors name the nearest.
Status choose_tool(std::string_view word, ChatRequest& request);

}  // namespace heed
