// Work with the chat template of a file, in a child that can neither crash nor keep this process.
#pragma once

#include <functional>
#include <string>

#include "heed/chat.h"
#include "heed/status.h"

struct common_chat_templates;
struct llama_model;

namespace heed {

// The text that `work` makes of the model's template. What it throws is an error about the
// template. Errors besides: the file has no template.
using TemplateWork = std::function<std::string(const common_chat_templates* templates)>;
Result<std::string> with_template(const llama_model* model, const TemplateWork& work);
// The same for a template that no file brings.
Result<std::string> with_template(const std::string& jinja, const TemplateWork& work);
Result<ChatPrompt> prepare_chat_with(const std::string& jinja, const ChatRequest& request);

// llama.cpp's common code reports by exception as well, and its logger would start a thread.
void silence_common_log();

}  // namespace heed
