#include "cli/chat_history.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kVersion = 1;

template <class... Args>
Status broken(const std::string& name, const Args&... what) {
  return error(Code::kCorrupt, name, " is no conversation of heed chat: ", what...);
}

Result<ChatMessage> message_of(const Json& entry, size_t index, const std::string& name) {
  ChatMessage message;
  for (const auto& [key, to] : {std::pair{"role", &message.role}, {"content", &message.content}}) {
    const bool there = entry.is_object() && entry.contains(key) && entry.at(key).is_string();
    if (!there) return broken(name, "message ", index, " has no text \"", key, "\"");
    *to = entry.at(key).get<std::string>();
  }
  return message;
}

// The system message first, then user and assistant in turn.
Status take(ChatMessage message, size_t index, const std::string& name, ChatHistory& out) {
  if (index == 0 && message.role == "system") {
    out.system = std::move(message.content);
    return Status::ok();
  }
  const char* expected = out.turns.size() % 2 == 0 ? "user" : "assistant";
  if (message.role != expected) {
    return broken(name, "message ", index, " is of '", message.role, "' where '", expected,
                  "' is due");
  }
  out.turns.push_back(std::move(message));
  return Status::ok();
}

}  // namespace

std::vector<ChatMessage> ChatHistory::messages() const {
  std::vector<ChatMessage> out;
  if (!system.empty()) out.push_back({"system", system});
  out.insert(out.end(), turns.begin(), turns.end());
  return out;
}

std::optional<std::string> ChatHistory::take_last() {
  if (answered()) turns.pop_back();
  if (turns.empty()) return std::nullopt;
  std::string asked = std::move(turns.back().content);
  turns.pop_back();
  return asked;
}

std::string ChatHistory::to_json(const std::string& model) const {
  Json messages_json = Json::array();
  for (const ChatMessage& m : messages()) {
    messages_json.push_back({{"role", m.role}, {"content", m.content}});
  }
  const Json out = {{"heed_chat", kVersion}, {"model", model}, {"messages", messages_json}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ChatHistory> ChatHistory::from_json(const std::string& text, const std::string& name) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return broken(name, "no JSON object");
  const auto version = json.find("heed_chat");
  if (version == json.end() || !version->is_number_integer()) {
    return broken(name, "it has no number \"heed_chat\"");
  }
  if (*version != kVersion) {
    return error(Code::kUnsupported, name, " has version ", version->dump(), " of heed chat's ",
                 "format, this heed reads ", kVersion);
  }
  const auto messages = json.find("messages");
  if (messages == json.end() || !messages->is_array()) {
    return broken(name, "it has no list \"messages\"");
  }
  ChatHistory out;
  for (size_t i = 0; i < messages->size(); ++i) {
    HEED_ASSIGN(ChatMessage message, message_of((*messages)[i], i, name));
    HEED_TRY(take(std::move(message), i, name, out));
  }
  return out;
}

}  // namespace heed::cli
