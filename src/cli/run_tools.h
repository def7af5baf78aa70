// Tools of `heed run`: --tools, --tool-choice, and the calls in the answer.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "heed/chat.h"

namespace CLI {
class App;
}

namespace heed::cli {

struct ToolFlags {
  // As typed.
  std::string file, choice = "auto";
  bool parallel = false;
  std::string text;  // the file's
  ChatRequest request;

  void bind(CLI::App& app);
  // Reads the file. The error is a usage error.
  Status settle();
  bool given() const { return !file.empty(); }
  // The prompt of a conversation that begins here.
  Result<ChatPrompt> prepare(const Model& model, const std::string& user,
                             const std::string& system) const;
};

// [{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}], as OpenAI's.
nlohmann::ordered_json calls_json(const std::vector<ToolCall>& calls);

}  // namespace heed::cli
