#include "cli/run_tools.h"

#include <nlohmann/json.hpp>

#include "base/read_file.h"
#include "base/text.h"
#include "cli/parse.h"

namespace heed::cli {

void ToolFlags::bind(CLI::App& app) {
  add(app, "--tools", file, "Tools the model may call, a JSON array as OpenAI's API takes it")
      ->type_name("FILE");
  add(app, "--tool-choice", choice, "auto, none, required, or the name of the tool to call")
      ->type_name("CHOICE")
      ->capture_default_str();
  add_flag(app, "--parallel-tool-calls", parallel, "Allow several calls in one answer");
}

Status ToolFlags::settle() {
  if (file.empty()) {
    if (choice == "auto" && !parallel) return Status::ok();
    return Status(Code::kInvalidArgument,
                  "--tool-choice and --parallel-tool-calls need --tools FILE");
  }
  HEED_ASSIGN(text, read_file(file, "--tools " + file));
  Result<std::vector<Tool>> tools = parse_tools(text);
  if (!tools.is_ok()) return tools.status().with_context("--tools " + file);
  request.tools = std::move(*tools);
  request.parallel = parallel;
  const Status chosen = choose_tool(choice, request);
  return chosen.is_ok() ? chosen : chosen.with_context("--tool-choice");
}

Result<ChatPrompt> ToolFlags::prepare(const Model& model, const std::string& user,
                                      const std::string& system) const {
  ChatRequest out = request;
  const auto say = [&](const char* role, const std::string& content) {
    ChatTurn turn;
    turn.role = role;
    turn.content = content;
    out.turns.push_back(std::move(turn));
  };
  if (!system.empty()) say("system", system);
  say("user", user);
  return prepare_chat(model, out);
}

nlohmann::ordered_json calls_json(const std::vector<ToolCall>& calls) {
  auto out = nlohmann::ordered_json::array();
  for (const ToolCall& call : calls) {
    out.push_back({{"id", call.id},
                   {"type", "function"},
                   {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return out;
}

}  // namespace heed::cli
