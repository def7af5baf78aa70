// What /status of `heed chat` prints.
#pragma once

#include <string>

#include "cli/conversation.h"
#include "heed/generate.h"

namespace heed::cli {

struct ChatStatus {
  const Engine& engine;
  const Conversation& conversation;
  size_t messages = 0;
  const Generation* last = nullptr;  // the latest answer; null: none yet
};
std::string chat_status(const ChatStatus& status);

}  // namespace heed::cli
