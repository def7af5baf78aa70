// The steps of an answer: where logits come from and how a sampled token moves the sequence on.
// Without a drafter a token is a step; with one a step may have checked what comes next already.
// Answers that grow beside each other share their steps.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "heed/speculative.h"
#include "session/generate.h"

namespace heed {

class AnswerSteps {
 public:
  // `seq` has logits.
  AnswerSteps(Engine& engine, SeqId seq, const DraftOptions& options);

  // Behind the last token; valid until the next step.
  Result<std::span<const float>> logits() const;
  // The next token, which is the one that was drawn from logits(). True: the last step has checked
  // it, and logits() is behind it.
  bool was_guessed(Token token);
  // Else it is what the next step begins with, with guesses behind it: at most `rows` tokens, of
  // which at most `left` will be asked for behind `token`.
  Status prepare(Token token, int64_t left, int rows, const CancelToken* cancel);
  // One step of all of these, which are prepared. On error no sequence holds more than before.
  static Status step(Engine& engine, std::span<AnswerSteps* const> answers,
                     const CancelToken* cancel);
  // Takes guesses back that nobody drew. The sequence is then as plain decoding leaves it.
  Status settle();

  // Tokens that plain decoding would hold now.
  int64_t length() const { return length_; }
  const DraftReport& report() const { return report_; }

 private:
  Status guess(int64_t left, int rows, const CancelToken* cancel);
  void forget_guesses() { tokens_.resize(std::min<size_t>(tokens_.size(), 1)); }
  bool guesses() const { return tokens_.size() > 1; }

  Engine& engine_;
  SeqId seq_;
  DraftOptions options_;
  std::vector<Token> text_;  // of the sequence, for the drafter; empty without one
  // Of the last step: the token that was drawn and the guesses behind it.
  std::vector<Token> tokens_;
  View<const float, 2> rows_;  // [tokens_, vocab], where there are guesses
  int64_t row_ = 0;            // the one that logits() gives
  int64_t length_ = 0;         // without guesses that nobody drew
  DraftReport report_;
};

// The decode loop of answers behind a finished prefill, the i-th with steps[i], until all have
// ended. Their guesses are taken back, except on error.
Status decode_answers(Engine& engine, std::span<Answer> answers, std::span<AnswerSteps> steps,
                      const CancelToken* cancel);

// Limits out of range.
Status check_drafts(const DraftOptions& draft);

}  // namespace heed
