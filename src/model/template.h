// Chat templates: the Jinja text of the file, run by llama.cpp's engine.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "heed/engine.h"
#include "heed/status.h"
#include "model/tokenizer.h"

namespace heed {

class ChatTemplate {
 public:
  // Never fails: a file without a template, or with one that does not parse, says so in apply().
  explicit ChatTemplate(const Tokenizer& tokenizer);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // The file brought one. llama.cpp would fall back to ChatML, which a base model never saw.
  bool present() const { return present_; }
  Result<std::string> apply(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  bool present_ = false;
  Status status_;
};

}  // namespace heed
