#include "session/speculation.h"

#include <algorithm>

#include "base/clock.h"
#include "heed/session.h"
#include "session/engine_impl.h"

namespace heed {

AnswerSteps::AnswerSteps(Engine& engine, SeqId seq, const DraftOptions& options)
    : engine_(engine), seq_(seq), options_(options), length_(engine.length(seq)) {
  if (options_.drafter == nullptr) return;
  report_.drafter = options_.drafter->name();
  const std::span<const Token> held = sequence_tokens(engine, seq);
  text_.assign(held.begin(), held.end());
}

Result<std::span<const float>> AnswerSteps::logits() const {
  if (draft_.empty()) return engine_.logits(seq_);
  return std::span<const float>(&rows_(row_, 0), static_cast<size_t>(rows_.shape[1]));
}

Status AnswerSteps::advance(Token token, int64_t left, const CancelToken* cancel) {
  if (options_.drafter == nullptr) return decode(token, cancel);
  // As many guesses as are left to check: the last row of a step has none behind it.
  if (row_ < static_cast<int64_t>(draft_.size()) && draft_[static_cast<size_t>(row_)] == token) {
    ++row_;
    ++report_.accepted;
    ++length_;
    text_.push_back(token);
    return Status::ok();
  }
  HEED_TRY(settle());
  text_.push_back(token);
  HEED_TRY(guess(left, cancel));
  return draft_.empty() ? decode(token, cancel) : check(token, cancel);
}

Status AnswerSteps::decode(Token token, const CancelToken* cancel) {
  const SeqToken next{seq_, token};
  HEED_TRY(engine_.decode({&next, 1}, cancel));
  ++report_.steps;
  ++length_;
  return Status::ok();
}

Status AnswerSteps::guess(int64_t left, const CancelToken* cancel) {
  // The last one is drawn, not guessed; the token before the guesses takes a row too.
  int64_t most =
      std::min({int64_t{options_.max}, left - 1, int64_t{most_verified(engine_.options())} - 1});
  if (!engine_.options().beyond_context) {
    most = std::min(most, engine_.options().context - length_ - 1);
  }
  if (most < std::max(options_.min, 1)) return Status::ok();
  const auto start = Clock::now();
  const Status status = options_.drafter->propose(text_, static_cast<int>(most), cancel, draft_);
  report_.draft_s += seconds_since(start);
  if (status.code() == Code::kCancelled) return status;
  if (!status.is_ok()) {
    report_.stopped = status.message();
    options_.max = 0;
    draft_.clear();
  }
  if (static_cast<int64_t>(draft_.size()) > most) draft_.resize(static_cast<size_t>(most));
  const Token vocab = engine_.model().info().vocab;
  // An end token ends the answer when it is drawn: nothing asks for the logits behind it.
  const auto useless = [&](Token t) { return t < 0 || t >= vocab || engine_.model().is_end(t); };
  draft_.erase(std::find_if(draft_.begin(), draft_.end(), useless), draft_.end());
  if (static_cast<int64_t>(draft_.size()) < options_.min) draft_.clear();
  return Status::ok();
}

Status AnswerSteps::check(Token token, const CancelToken* cancel) {
  draft_.insert(draft_.begin(), token);
  const auto rows = engine_.verify(seq_, draft_, cancel);
  draft_.erase(draft_.begin());
  if (rows.code() == Code::kResourceExhausted) {  // guesses need pages too; the answer goes first
    draft_.clear();
    return decode(token, cancel);
  }
  if (!rows.is_ok()) {
    draft_.clear();
    return rows.status();
  }
  rows_ = *rows;
  row_ = 0;
  ++report_.steps;
  report_.drafted += static_cast<int64_t>(draft_.size());
  ++length_;
  return Status::ok();
}

Status AnswerSteps::settle() {
  if (draft_.empty()) return Status::ok();
  draft_.clear();
  row_ = 0;
  return engine_.truncate(seq_, length_);
}

}  // namespace heed
