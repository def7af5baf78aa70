// Prefill, then one token after the other until an end token, a limit or a cancel.
#include "session/generate.h"

#include "base/guard.h"
#include "base/text.h"
#include "heed/session.h"
#include "session/speculation.h"

namespace heed {
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

Result<bool> prefill_prompt(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options, Generation& out) {
  out.prompt_tokens = static_cast<int64_t>(prompt.size());
  PrefillOptions prefill;
  prefill.cancel = options.cancel;
  prefill.progress = options.on_prefill;
  const Clock::time_point start = Clock::now();
  const Status filled = engine.prefill(seq, prompt, prefill);
  out.prompt_s = seconds_since(start);
  if (filled.code() == Code::kCancelled) {
    out.stop = StopReason::kCancelled;
    return false;
  }
  HEED_TRY(filled);
  if (options.max_tokens != 0) return true;
  out.stop = StopReason::kLength;
  return false;
}

Status check_prompt(const Engine& engine, SeqId seq, std::span<const Token> prompt) {
  if (prompt.empty()) {
    return Status(Code::kInvalidArgument, "the prompt is empty: there is no token to start from");
  }
  if (engine.options().beyond_context) return Status::ok();
  return check_prompt_fits(static_cast<int64_t>(prompt.size()), engine.length(seq),
                           engine.options().context,
                           longest_context(engine.model().info(), engine.options().rope));
}

Result<std::unique_ptr<Sampler>> sampler_behind(const Engine& engine, SeqId seq,
                                                std::span<const Token> prompt,
                                                const GenerateOptions& options) {
  SamplerOptions sampling = options.sampler;
  sampling.ignore_eos = sampling.ignore_eos || options.ignore_eos;
  HEED_ASSIGN(std::unique_ptr<Sampler> sampler, Sampler::create(engine.model(), sampling));
  for (const Token token : sequence_tokens(engine, seq)) HEED_TRY(sampler->accept(token));
  for (const Token token : prompt) HEED_TRY(sampler->accept(token));
  return sampler;
}

namespace {

Result<Generation> generate_unguarded(Engine& engine, SeqId seq, std::span<const Token> prompt,
                                      const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  HEED_TRY(check_prompt(engine, seq, prompt));
  HEED_TRY(check_drafts(options.draft));
  HEED_ASSIGN(const auto sampler, sampler_behind(engine, seq, prompt, options));
  Generation out;
  out.seed = sampler->seed();
  HEED_ASSIGN(const bool go_on, prefill_prompt(engine, seq, prompt, options, out));
  if (!go_on) return out;
  Answer answer(engine, *sampler, options, start, out);
  AnswerSteps steps(engine, seq, options.draft);
  const Status status = decode_answers(engine, {&answer, 1}, {&steps, 1}, options.cancel);
  HEED_TRY(steps.settle());
  HEED_TRY(status);
  out.draft = steps.report();
  return out;
}

}  // namespace

Result<Generation> generate(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options) {
  return guarded("generating", [&] { return generate_unguarded(engine, seq, prompt, options); });
}

}  // namespace heed
