// The steps of an answer: where logits come from and how a sampled token moves the sequence on.
// Without a drafter a token is a step; with one a step may have checked what comes next already.
#pragma once

#include <span>
#include <vector>

#include "heed/speculative.h"

namespace heed {

class AnswerSteps {
 public:
  // `seq` has logits.
  AnswerSteps(Engine& engine, SeqId seq, const DraftOptions& options);

  // Behind the last token; valid until the next call.
  Result<std::span<const float>> logits() const;
  // The next token, which is the one that was drawn from logits(). At most `left` more will be
  // asked for behind it. On error the sequence holds no more than the tokens of earlier calls.
  Status advance(Token token, int64_t left, const CancelToken* cancel);
  // Takes guesses back that nobody drew. The sequence is then as plain decoding leaves it.
  Status settle();

  // Tokens that plain decoding would hold now.
  int64_t length() const { return length_; }
  const DraftReport& report() const { return report_; }

 private:
  Status decode(Token token, const CancelToken* cancel);
  Status guess(int64_t left, const CancelToken* cancel);
  Status check(Token token, const CancelToken* cancel);

  Engine& engine_;
  SeqId seq_;
  DraftOptions options_;
  std::vector<Token> text_;  // of the sequence, for the drafter; empty without one
  std::vector<Token> draft_;
  // Of the last step that checked a draft, [1 + drafted, vocab]: row i is behind i guesses.
  View<const float, 2> rows_;
  int64_t row_ = 0;     // the one that logits() gives
  int64_t length_ = 0;  // without guesses that nobody drew
  DraftReport report_;
};

}  // namespace heed
