// What the ways to generate share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/utf8.h"
#include "heed/generate.h"
#include "heed/status.h"

namespace heed {

// A prompt must leave room for one answer token behind the `held` positions. Never cut: the error
// has both numbers and the way out.
Status check_prompt_fits(int64_t prompt, int64_t held, int64_t context, int64_t trained_context);
// The same of a sequence, and the prompt is not empty.
Status check_prompt(const Engine& engine, SeqId seq, std::span<const Token> prompt);

// One that has seen what the sequence holds and the prompt behind it.
Result<std::unique_ptr<Sampler>> sampler_behind(const Engine& engine, SeqId seq,
                                                std::span<const Token> prompt,
                                                const GenerateOptions& options);

// Notes the figures of the prompt in `out`; false: the answer ends here, as out.stop says.
Result<bool> prefill_prompt(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options, Generation& out);

// An answer as it grows: what is sampled, its text, what ends it.
class Answer {
 public:
  // All outlive it; `start` is when the call began.
  Answer(const Engine& engine, Sampler& sampler, const GenerateOptions& options,
         Clock::time_point start, Generation& out)
      : engine_(engine),
        sampler_(sampler),
        options_(options),
        on_token_(options.on_token),
        start_(start),
        first_(start),
        out_(out) {}

  // Samples behind these logits of a sequence of `length` tokens. True: last() is to be decoded.
  Result<bool> take(std::span<const float> logits, int64_t length);
  Token last() const { return last_; }
  // Tokens that may come behind it.
  int64_t left() const;
  void stop(StopReason reason) { out_.stop = reason; }
  // Text that waits for the rest of a character goes out; the time is noted.
  void finish();
  void keep_quiet() { on_token_ = nullptr; }

 private:
  bool ends(Token token);
  // By the grammar, behind which only an end token could come, or by a stop text, which may begin
  // in the text `before` the last token.
  bool is_complete(size_t before);
  bool reached_limit(int64_t length);
  void flush(Token token, const std::string& text);

  const Engine& engine_;
  Sampler& sampler_;
  const GenerateOptions& options_;
  std::function<void(Token, std::string_view)> on_token_;
  Clock::time_point start_, first_;
  Generation& out_;
  Utf8Assembler assembler_;
  Token last_ = -1;
};

}  // namespace heed
