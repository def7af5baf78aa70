// A conversation in one sequence of an engine: a turn computes only what the sequence does not
// hold.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "heed/generate.h"

namespace heed::cli {

class Conversation {
 public:
  // `seq` belongs to the conversation from now on; `engine` must live longer.
  Conversation(Engine& engine, SeqId seq) : engine_(engine), seq_(seq) {}

  // What the model says to `messages`, the last of which is the user's. Errors: no template, no
  // room in the context for an answer (the way out is among /undo, /clear and -c).
  Result<Generation> answer(std::span<const ChatMessage> messages, const GenerateOptions& options);

  // Lets go of what these messages do not begin with.
  Status keep(std::span<const ChatMessage> messages);

  // Keeps what was computed in a file beside the messages', and takes it up as far as `messages`
  // begin like it; false: there is no such file.
  Status save(const std::string& path);
  Result<bool> take_up(const std::string& path, std::span<const ChatMessage> messages,
                       const CancelToken* cancel = nullptr);

  int64_t tokens() const { return engine_.length(seq_); }
  int64_t reused() const { return reused_; }  // tokens of the last prompt that were there already

 private:
  Result<std::vector<Token>> tokens_of(std::span<const ChatMessage> messages,
                                       bool add_generation_prompt) const;
  // Of these tokens at the beginning of the sequence.
  int64_t shared_with(std::span<const Token> tokens) const;

  Engine& engine_;
  SeqId seq_;
  int64_t reused_ = 0;
};

}  // namespace heed::cli
