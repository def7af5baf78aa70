#include "cli/conversation.h"

#include <algorithm>

#include "base/text.h"
#include "heed/session.h"

namespace heed::cli {

Result<std::vector<Token>> Conversation::tokens_of(std::span<const ChatMessage> messages,
                                                   bool add_generation_prompt) const {
  HEED_ASSIGN(const std::string text,
              engine_.model().apply_template(messages, add_generation_prompt));
  return engine_.model().tokenize(text, true, true);
}

Result<Generation> Conversation::answer(std::span<const ChatMessage> messages,
                                        const GenerateOptions& options) {
  HEED_ASSIGN(const std::vector<Token> prompt, tokens_of(messages, true));
  const auto count = static_cast<int64_t>(prompt.size());
  const int64_t context = engine_.options().context;
  if (count >= context) {
    return error(Code::kOutOfRange, "with this message the conversation has ", count,
                 " tokens, and the context of ", context,
                 " leaves no room for an answer; a shorter message may fit, /undo takes an earlier "
                 "one back, /clear begins anew, and a larger -c needs a new start (/save and /load "
                 "keep the conversation)");
  }
  if (prompt.empty()) return Status(Code::kInvalidArgument, "the template makes no token of this");
  // Logits come with a token, so the last one is computed again if need be.
  reused_ = std::min(shared_with(prompt), count - 1);
  HEED_TRY(engine_.truncate(seq_, reused_));
  return generate(engine_, seq_, std::span(prompt).subspan(static_cast<size_t>(reused_)), options);
}

int64_t Conversation::shared_with(std::span<const Token> tokens) const {
  const std::span<const Token> held = sequence_tokens(engine_, seq_);
  return std::mismatch(held.begin(), held.end(), tokens.begin(), tokens.end()).first - held.begin();
}

Status Conversation::keep(std::span<const ChatMessage> messages) {
  std::vector<Token> tokens;
  if (!messages.empty()) {
    // A template may refuse a history that no message of the user begins: then nothing is kept.
    Result<std::vector<Token>> told = tokens_of(messages, false);
    if (told.is_ok()) tokens = std::move(*told);
  }
  return engine_.truncate(seq_, shared_with(tokens));
}

Status Conversation::save(const std::string& path) {
  return save_session(engine_, seq_, path).status();
}

Result<bool> Conversation::take_up(const std::string& path, std::span<const ChatMessage> messages,
                                   const CancelToken* cancel) {
  HEED_ASSIGN(const std::vector<Token> tokens, tokens_of(messages, false));
  RestoreOptions options;
  options.prefix_of = std::span<const Token>(tokens);
  options.like = seq_;
  options.cancel = cancel;
  const Result<RestoredSession> restored = restore_session(engine_, path, options);
  if (restored.code() == Code::kNotFound) return false;
  HEED_TRY(restored.status());
  HEED_TRY(engine_.drop(seq_));
  seq_ = restored->seq;
  return true;
}

}  // namespace heed::cli
