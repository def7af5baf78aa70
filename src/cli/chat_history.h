// The messages of a conversation, and the file they are kept in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "heed/model.h"

namespace heed::cli {

struct ChatHistory {
  std::string system;              // empty: none
  std::vector<ChatMessage> turns;  // "user" and "assistant" in turn

  // As a template wants them.
  std::vector<ChatMessage> messages() const;
  bool answered() const { return !turns.empty() && turns.back().role == "assistant"; }
  // Takes back the last message and the answer to it, where it has one; no message: none.
  std::optional<std::string> take_last();

  // JSON: {"heed_chat": 1, "model": NAME, "messages": [{"role": ..., "content": ...}, ...]}.
  std::string to_json(const std::string& model) const;
  // Errors say what is wrong and where; `name` is the file's.
  static Result<ChatHistory> from_json(const std::string& text, const std::string& name);
};

}  // namespace heed::cli
