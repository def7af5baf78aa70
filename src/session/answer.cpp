#include <algorithm>
#include <chrono>
#include <limits>

#include "session/generate.h"

namespace heed {

Result<bool> Answer::take(std::span<const float> logits, int64_t length) {
  HEED_ASSIGN(const Token token, sampler_.sample(logits));
  if (out_.tokens.empty()) {
    first_ = Clock::now();
    out_.first_token_s = std::chrono::duration<double>(first_ - start_).count();
  }
  if (ends(token)) return false;
  HEED_ASSIGN(const std::string piece, engine_.model().piece(token));
  out_.tokens.push_back(token);
  last_ = token;
  const size_t before = out_.text.size();
  flush(token, assembler_.push(piece));
  return !is_complete(before) && !reached_limit(length);
}

int64_t Answer::left() const {
  if (options_.max_tokens < 0) return std::numeric_limits<int64_t>::max();
  return options_.max_tokens - static_cast<int64_t>(out_.tokens.size());
}

void Answer::finish() {
  out_.decode_s = seconds_since(first_);
  if (const std::string rest = assembler_.finish(); !rest.empty()) flush(last_, rest);
}

bool Answer::ends(Token token) {
  if (options_.ignore_eos || !engine_.model().is_end(token)) return false;
  out_.stop = StopReason::kEnd;
  return true;
}

bool Answer::is_complete(size_t before) {
  bool complete = sampler_.finished();
  size_t cut = std::string::npos;
  for (const std::string& stop : options_.stops) {
    const size_t seen = before - std::min(before, stop.size());
    if (!stop.empty()) cut = std::min(cut, out_.text.find(stop, seen));
  }
  if (cut != std::string::npos) {
    out_.text.resize(cut);
    assembler_ = {};  // what waits for its rest came behind the stop
    complete = true;
  }
  if (complete) out_.stop = StopReason::kEnd;
  return complete;
}

bool Answer::reached_limit(int64_t length) {
  const auto made = static_cast<int64_t>(out_.tokens.size());
  if (options_.cancel != nullptr && options_.cancel->cancelled()) {
    out_.stop = StopReason::kCancelled;
  } else if (options_.max_tokens >= 0 && made >= options_.max_tokens) {
    out_.stop = StopReason::kLength;
  } else if (!engine_.options().beyond_context && length + 1 > engine_.options().context) {
    out_.stop = StopReason::kContext;
  } else {
    return false;
  }
  return true;
}

void Answer::flush(Token token, const std::string& text) {
  out_.text += text;
  if (on_token_) on_token_(token, text);
}

}  // namespace heed
