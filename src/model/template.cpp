#include "model/template.h"

#include <exception>

#include "base/text.h"
#include "chat.h"  // of llama.cpp's common code
#include "llama.h"
#include "model/llama_log.h"

namespace heed {

struct ChatTemplate::Impl {
  common_chat_templates_ptr templates;
};

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer) : impl_(std::make_unique<Impl>()) {
  capture_llama_log();
  status_ = Status(Code::kUnsupported,
                   "the model file has no chat template (a base model); give it raw text");
  if (!tokenizer.has_vocabulary()) return;
  if (llama_model_chat_template(tokenizer.model(), nullptr) == nullptr) return;
  present_ = true;
  try {
    impl_->templates = common_chat_templates_init(tokenizer.model(), "");
  } catch (const std::exception& e) {
    status_ = error(Code::kCorrupt, "the chat template of the model file does not parse: ",
                    e.what(), "; --raw runs without it");
    return;
  }
  present_ = common_chat_templates_was_explicit(impl_->templates.get());
  if (present_) status_ = Status::ok();
}

ChatTemplate::~ChatTemplate() = default;

Result<std::string> ChatTemplate::apply(std::span<const ChatMessage> messages,
                                        bool add_generation_prompt) const {
  if (!status_.is_ok()) return status_;
  common_chat_templates_inputs inputs;
  inputs.add_generation_prompt = add_generation_prompt;
  for (const ChatMessage& message : messages) {
    common_chat_msg copy;
    copy.role = message.role;
    copy.content = message.content;
    inputs.messages.push_back(std::move(copy));
  }
  try {
    return common_chat_templates_apply(impl_->templates.get(), inputs).prompt;
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, "the chat template of the model file failed: ", e.what(),
                 "; --raw runs without it");
  }
}

}  // namespace heed
