#include "session/speculation.h"

#include <algorithm>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "heed/session.h"
#include "session/engine_impl.h"

namespace heed {

Status check_drafts(const DraftOptions& draft) {
  if (draft.drafter == nullptr) return Status::ok();
  if (draft.max < 1 || draft.max > DraftOptions::kMostDrafted) {
    return error(Code::kOutOfRange, "drafts of ", draft.max, " tokens, must be 1 to ",
                 DraftOptions::kMostDrafted);
  }
  if (draft.min < 0 || draft.min > draft.max) {
    return error(Code::kOutOfRange, "drafts of at least ", draft.min, " tokens, must be 0 to ",
                 draft.max, ", which is the most");
  }
  return Status::ok();
}

AnswerSteps::AnswerSteps(Engine& engine, SeqId seq, const DraftOptions& options)
    : engine_(engine), seq_(seq), options_(options), length_(engine.length(seq)) {
  if (options_.drafter == nullptr) return;
  report_.drafter = options_.drafter->name();
  const std::span<const Token> held = sequence_tokens(engine, seq);
  text_.assign(held.begin(), held.end());
}

Result<std::span<const float>> AnswerSteps::logits() const {
  if (!guesses()) return engine_.logits(seq_);
  return std::span<const float>(&rows_(row_, 0), static_cast<size_t>(rows_.shape[1]));
}

bool AnswerSteps::was_guessed(Token token) {
  // As many guesses as are left to check: the last row of a step has none behind it.
  const auto next = static_cast<size_t>(row_) + 1;
  if (next >= tokens_.size() || tokens_[next] != token) return false;
  ++row_;
  ++report_.accepted;
  ++length_;
  text_.push_back(token);
  return true;
}

Status AnswerSteps::prepare(Token token, int64_t left, int rows, const CancelToken* cancel) {
  HEED_TRY(settle());
  tokens_.assign(1, token);
  if (options_.drafter == nullptr) return Status::ok();
  text_.push_back(token);
  return guess(left, rows, cancel);
}

Status AnswerSteps::guess(int64_t left, int rows, const CancelToken* cancel) {
  // The last one is drawn, not guessed.
  int64_t most = std::min<int64_t>({options_.max, left - 1, rows - 1});
  if (!engine_.options().beyond_context) {
    most = std::min(most, engine_.options().context - length_ - 1);
  }
  if (most < std::max(options_.min, 1)) return Status::ok();
  std::vector<Token> draft;
  const auto start = Clock::now();
  const Status status = options_.drafter->propose(text_, static_cast<int>(most), cancel, draft);
  report_.draft_s += seconds_since(start);
  if (status.code() == Code::kCancelled) return status;
  if (!status.is_ok()) {
    report_.stopped = status.message();
    options_.max = 0;
    draft.clear();
  }
  if (static_cast<int64_t>(draft.size()) > most) draft.resize(static_cast<size_t>(most));
  const Token vocab = engine_.model().info().vocab;
  // An end token ends the answer when it is drawn: nothing asks for the logits behind it.
  const auto useless = [&](Token t) { return t < 0 || t >= vocab || engine_.model().is_end(t); };
  draft.erase(std::find_if(draft.begin(), draft.end(), useless), draft.end());
  if (static_cast<int64_t>(draft.size()) < options_.min) draft.clear();
  tokens_.insert(tokens_.end(), draft.begin(), draft.end());
  return Status::ok();
}

Status AnswerSteps::step(Engine& engine, std::span<AnswerSteps* const> answers,
                         const CancelToken* cancel) {
  std::vector<SeqToken> drawn;
  std::vector<SeqSpan> spans;
  for (const AnswerSteps* answer : answers) {
    drawn.push_back({answer->seq_, answer->tokens_[0]});
    spans.push_back({answer->seq_, answer->tokens_});
  }
  const auto plain = [&] {
    for (AnswerSteps* answer : answers) answer->forget_guesses();
    return engine.decode(drawn, cancel);
  };
  const auto guesses = [](const AnswerSteps* answer) { return answer->guesses(); };
  Status status = Status::ok();
  View<const float, 2> rows;
  if (std::none_of(answers.begin(), answers.end(), guesses)) {
    status = plain();
  } else {
    const auto made = guarded("verifying", [&] { return engine.impl().verify(spans, cancel); });
    status = made.status();
    if (made.is_ok()) rows = *made;
    // Guesses need pages too; the answers go first.
    if (status.code() == Code::kResourceExhausted) status = plain();
  }
  int64_t first = 0;
  for (AnswerSteps* answer : answers) {
    answer->row_ = 0;
    if (!status.is_ok()) {
      answer->forget_guesses();
      continue;
    }
    const auto count = static_cast<int64_t>(answer->tokens_.size());
    if (answer->guesses()) {
      answer->rows_ = View<const float, 2>::contiguous(&rows(first, 0), {count, rows.shape[1]});
    }
    first += count;
    ++answer->report_.steps;
    answer->report_.drafted += count - 1;
    ++answer->length_;
  }
  return status;
}

Status AnswerSteps::settle() {
  if (!guesses()) return Status::ok();
  forget_guesses();
  row_ = 0;
  return engine_.truncate(seq_, length_);
}

namespace {

// Of the answers in `active`, those that need another step; the others have ended.
Result<std::vector<size_t>> draw(std::span<Answer> answers, std::span<AnswerSteps> steps,
                                 std::span<const size_t> active) {
  std::vector<size_t> going_on;
  for (const size_t i : active) {
    bool more = true, guessed = true;
    while (more && guessed) {  // as far as the last step goes
      HEED_ASSIGN(const std::span<const float> logits, steps[i].logits());
      HEED_ASSIGN(more, answers[i].take(logits, steps[i].length()));
      if (more) guessed = steps[i].was_guessed(answers[i].last());
    }
    if (more) {
      going_on.push_back(i);
    } else {
      answers[i].finish();
    }
  }
  return going_on;
}

Status advance(Engine& engine, std::span<Answer> answers, std::span<AnswerSteps> steps,
               std::span<const size_t> active, const CancelToken* cancel) {
  // The rows of a step are shared out evenly; fewer than one each leaves no room for guesses.
  const int rows = most_verified(engine.options()) / static_cast<int>(active.size());
  std::vector<AnswerSteps*> together;
  for (const size_t i : active) {
    HEED_TRY(steps[i].prepare(answers[i].last(), answers[i].left(), rows, cancel));
    together.push_back(&steps[i]);
  }
  return AnswerSteps::step(engine, together, cancel);
}

}  // namespace

Status decode_answers(Engine& engine, std::span<Answer> answers, std::span<AnswerSteps> steps,
                      const CancelToken* cancel) {
  std::vector<size_t> active(answers.size());
  for (size_t i = 0; i < active.size(); ++i) active[i] = i;
  for (;;) {
    HEED_ASSIGN(active, draw(answers, steps, active));
    if (active.empty()) break;
    const Status status = advance(engine, answers, steps, active, cancel);
    if (status.code() != Code::kCancelled) {
      HEED_TRY(status);
      continue;
    }
    for (const size_t i : active) {
      answers[i].stop(StopReason::kCancelled);
      answers[i].finish();
    }
    break;
  }
  for (AnswerSteps& one : steps) HEED_TRY(one.settle());
  return Status::ok();
}

}  // namespace heed
