// Prefill, then one token after the other until an end token, a limit or a cancel.
#include "session/generate.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "base/utf8.h"
#include "heed/generate.h"

namespace heed {
namespace {

// The decode loop behind a finished prefill.
class Decoding {
 public:
  Decoding(Engine& engine, SeqId seq, Sampler& sampler, const GenerateOptions& options,
           Generation& out)
      : engine_(engine), seq_(seq), sampler_(sampler), options_(options), out_(out) {}

  Status run(Clock::time_point start) {
    Clock::time_point first_token = start;
    for (;;) {
      HEED_ASSIGN(const std::span<const float> logits, engine_.logits(seq_));
      HEED_ASSIGN(const Token token, sampler_.sample(logits));
      if (out_.tokens.empty()) {
        first_token = Clock::now();
        out_.first_token_s = std::chrono::duration<double>(first_token - start).count();
      }
      if (ends(token)) break;
      HEED_TRY(emit(token));
      if (is_complete() || reached_limit()) break;
      const Status step = decode(token);
      if (step.code() == Code::kCancelled) {
        out_.stop = StopReason::kCancelled;
        break;
      }
      HEED_TRY(step);
    }
    out_.decode_s = seconds_since(first_token);
    if (const std::string rest = assembler_.finish(); !rest.empty()) flush(last_, rest);
    return Status::ok();
  }

 private:
  bool ends(Token token) {
    if (options_.ignore_eos || !engine_.model().is_end(token)) return false;
    out_.stop = StopReason::kEnd;
    return true;
  }

  // By the grammar, behind which only an end token could come, or by a stop text.
  bool is_complete() {
    bool complete = sampler_.finished();
    for (const std::string& stop : options_.stops) {
      const size_t seen = before_last_ - std::min(before_last_, stop.size());
      const size_t at = stop.empty() ? std::string::npos : out_.text.find(stop, seen);
      if (at == std::string::npos) continue;
      out_.text.resize(at);
      complete = true;
    }
    if (complete) out_.stop = StopReason::kEnd;
    return complete;
  }

  Status emit(Token token) {
    HEED_ASSIGN(const std::string piece, engine_.model().piece(token));
    out_.tokens.push_back(token);
    last_ = token;
    before_last_ = out_.text.size();
    flush(token, assembler_.push(piece));
    return Status::ok();
  }

  void flush(Token token, const std::string& text) {
    out_.text += text;
    if (options_.on_token) options_.on_token(token, text);
  }

  bool reached_limit() {
    const auto made = static_cast<int64_t>(out_.tokens.size());
    if (options_.cancel != nullptr && options_.cancel->cancelled()) {
      out_.stop = StopReason::kCancelled;
    } else if (options_.max_tokens >= 0 && made >= options_.max_tokens) {
      out_.stop = StopReason::kLength;
    } else if (!engine_.options().beyond_context &&
               engine_.length(seq_) + 1 > engine_.options().context) {
      out_.stop = StopReason::kContext;
    } else {
      return false;
    }
    return true;
  }

  Status decode(Token token) {
    const SeqToken next{seq_, token};
    return engine_.decode({&next, 1}, options_.cancel);
  }

  Engine& engine_;
  SeqId seq_;
  Sampler& sampler_;
  const GenerateOptions& options_;
  Generation& out_;
  Utf8Assembler assembler_;
  Token last_ = -1;
  size_t before_last_ = 0;  // bytes of the text without it
};

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEnd: return "end";
    case StopReason::kLength: return "length";
    case StopReason::kContext: return "context";
    case StopReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

Status check_prompt_fits(int64_t prompt, int64_t held, int64_t context, int64_t trained_context) {
  if (held + prompt < context) return Status::ok();
  const std::string before = held > 0 ? cat(" behind ", held, " tokens already held") : "";
  if (held + prompt < trained_context) {  // so -c is what is too small
    return error(Code::kOutOfRange, "the prompt has ", prompt, " tokens", before,
                 ", the context is ", context, " tokens and the answer needs at least one; use -c ",
                 trained_context, " (the model's trained context) or shorten the prompt");
  }
  return error(Code::kOutOfRange, "the prompt has ", prompt, " tokens", before,
               ", the model was trained for a context of ", trained_context,
               " tokens and the answer needs at least one; shorten the prompt or take a model with "
               "a longer context");
}

namespace {

Result<Generation> generate_unguarded(Engine& engine, SeqId seq, std::span<const Token> prompt,
                                      const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  const auto count = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) {
    return Status(Code::kInvalidArgument, "the prompt is empty: there is no token to start from");
  }
  if (!engine.options().beyond_context) {
    HEED_TRY(check_prompt_fits(count, engine.length(seq), engine.options().context,
                               longest_context(engine.model().info(), engine.options().rope)));
  }
  SamplerOptions sampling = options.sampler;
  sampling.ignore_eos = sampling.ignore_eos || options.ignore_eos;
  HEED_ASSIGN(std::unique_ptr<Sampler> sampler, Sampler::create(engine.model(), sampling));
  for (const Token token : prompt) HEED_TRY(sampler->accept(token));

  Generation out;
  out.prompt_tokens = count;
  out.seed = sampler->seed();
  PrefillOptions prefill;
  prefill.cancel = options.cancel;
  prefill.progress = options.on_prefill;
  const Clock::time_point prefill_start = Clock::now();
  const Status filled = engine.prefill(seq, prompt, prefill);
  out.prompt_s = seconds_since(prefill_start);
  if (filled.code() == Code::kCancelled) {
    out.stop = StopReason::kCancelled;
    return out;
  }
  HEED_TRY(filled);
  if (options.max_tokens == 0) {
    out.stop = StopReason::kLength;
    return out;
  }
  HEED_TRY(Decoding(engine, seq, *sampler, options, out).run(start));
  return out;
}

}  // namespace

Result<Generation> generate(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options) {
  return guarded("generating", [&] { return generate_unguarded(engine, seq, prompt, options); });
}

}  // namespace heed
