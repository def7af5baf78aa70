// Chat templates: the Jinja text of the file, run by llama.cpp's engine.
#include "model/template.h"

#include <exception>
#include <new>

#include "base/guard.h"
#include "base/text.h"
#include "chat.h"  // of llama.cpp's common code
#include "heed/model.h"
#include "llama.h"
#include "log.h"  // of llama.cpp's common code
#include "model/library_log.h"
#include "model/limited_child.h"
#include "model/model_impl.h"
#include "model/tokenizer.h"

namespace heed {
namespace {

common_chat_templates_inputs make_inputs(std::span<const ChatMessage> messages,
                                         bool add_generation_prompt) {
  common_chat_templates_inputs inputs;
  inputs.add_generation_prompt = add_generation_prompt;
  for (const ChatMessage& message : messages) {
    common_chat_msg copy;
    copy.role = message.role;
    copy.content = message.content;
    inputs.messages.push_back(std::move(copy));
  }
  return inputs;
}

constexpr const char* kWayOut = "; --raw runs without it";

// A template that is given goes before the model's.
Result<std::string> run_template(const llama_model* model, const std::string& given,
                                 const TemplateWork& work) {
  try {
    const common_chat_templates_ptr templates = common_chat_templates_init(model, given);
    if (!common_chat_templates_was_explicit(templates.get())) {
      return Status(Code::kUnsupported, "the chat template of the model file is empty");
    }
    return work(templates.get());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, "the chat template of the model file failed: ", e.what());
  }
}

// Jinja is a language with loops and recursion: what a file brings may never end, take all memory
// or the whole stack. Templates of real models are below 64 KiB and take milliseconds.
Result<std::string> run_in_child(const llama_model* model, const std::string& given,
                                 const TemplateWork& work) {
  route_library_logs();
  silence_common_log();
  return run_limited("the chat template of the model file", {},
                     [&] { return run_template(model, given, work); });
}

}  // namespace

void silence_common_log() {
  static const bool once = (common_log_set_verbosity_thold(-100), true);
  static_cast<void>(once);
}

Result<std::string> with_template(const llama_model* model, const TemplateWork& work) {
  // llama.cpp falls back to ChatML, which a base model never saw.
  if (model == nullptr || llama_model_chat_template(model, nullptr) == nullptr) {
    return Status(Code::kUnsupported,
                  "the model file has no chat template (a base model); give it raw text");
  }
  const Result<std::string> text = run_in_child(model, "", work);
  if (text.is_ok()) return text;
  return Status(text.code(), text.message() + kWayOut);
}

Result<std::string> with_template(const std::string& jinja, const TemplateWork& work) {
  if (jinja.empty()) return Status(Code::kInvalidArgument, "the chat template is empty");
  return run_in_child(nullptr, jinja, work);
}

Result<std::string> apply_template(const llama_model* model, std::span<const ChatMessage> messages,
                                   bool add_generation_prompt) {
  return with_template(model, [&](const common_chat_templates* templates) {
    return common_chat_templates_apply(templates, make_inputs(messages, add_generation_prompt))
        .prompt;
  });
}

Result<std::string> Model::apply_template(std::span<const ChatMessage> messages,
                                          bool add_generation_prompt) const {
  return guarded("applying the chat template", [&] {
    return heed::apply_template(impl().vocab, messages, add_generation_prompt);
  });
}

}  // namespace heed
