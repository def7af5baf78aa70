// Several answers to one prompt: it is read once, its pages are shared, and every step decodes one
// token of each answer that has not ended.
#include <vector>

#include "base/guard.h"
#include "base/text.h"
#include "session/generate.h"

namespace heed {
namespace {

// Drops its sequences, but for the first, which is the caller's.
class Forks {
 public:
  Forks(Engine& engine, SeqId seq) : engine_(engine), seqs_{seq} {}
  ~Forks() {
    for (size_t i = 1; i < seqs_.size(); ++i) (void)engine_.drop(seqs_[i]).is_ok();
  }
  Forks(const Forks&) = delete;
  Forks& operator=(const Forks&) = delete;

  Status grow(size_t n) {
    seqs_.reserve(n);
    while (seqs_.size() < n) {
      HEED_ASSIGN(const SeqId seq, engine_.fork(seqs_[0]));
      seqs_.push_back(seq);
    }
    return Status::ok();
  }
  SeqId operator[](size_t i) const { return seqs_[i]; }

 private:
  Engine& engine_;
  std::vector<SeqId> seqs_;
};

// The sampler of each answer, the i-th from the first one's seed + i.
Result<std::vector<std::unique_ptr<Sampler>>> samplers(const Engine& engine, SeqId seq,
                                                       std::span<const Token> prompt, size_t n,
                                                       const GenerateOptions& options) {
  std::vector<std::unique_ptr<Sampler>> out;
  GenerateOptions one = options;
  while (out.size() < n) {
    HEED_ASSIGN(auto sampler, sampler_behind(engine, seq, prompt, one));
    const uint32_t seed = sampler->seed();
    out.push_back(std::move(sampler));
    one.sampler.seed = seed + 1;
    // The number that means a seed from the clock.
    if (one.sampler.seed == SamplerOptions{}.seed) one.sampler.seed = 0;
  }
  return out;
}

Status decode_answers(Engine& engine, const Forks& seqs, std::vector<Answer>& answers,
                      const CancelToken* cancel) {
  std::vector<size_t> active(answers.size());
  for (size_t i = 0; i < active.size(); ++i) active[i] = i;
  std::vector<SeqToken> next;
  next.reserve(active.size());
  while (!active.empty()) {
    std::vector<size_t> going_on;
    next.clear();
    for (const size_t i : active) {
      HEED_ASSIGN(const std::span<const float> logits, engine.logits(seqs[i]));
      HEED_ASSIGN(const bool more, answers[i].take(logits, engine.length(seqs[i])));
      if (!more) {
        answers[i].finish();
        continue;
      }
      going_on.push_back(i);
      next.push_back({seqs[i], answers[i].last()});
    }
    active = std::move(going_on);
    if (active.empty()) break;
    const Status step = engine.decode(next, cancel);
    if (step.code() != Code::kCancelled) {
      HEED_TRY(step);
      continue;
    }
    for (const size_t i : active) {
      answers[i].stop(StopReason::kCancelled);
      answers[i].finish();
    }
    break;
  }
  return Status::ok();
}

Result<std::vector<Generation>> several(Engine& engine, SeqId seq, std::span<const Token> prompt,
                                        int n, const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  if (n < 1 || n > engine.options().max_sequences) {
    return error(Code::kOutOfRange, n, " answers, must be 1 to ", engine.options().max_sequences,
                 " (max_sequences)");
  }
  if (options.draft.drafter != nullptr) {
    return Status(
        Code::kInvalidArgument,
        "drafts are tokens of one answer, so several answers take no drafter; ask for one "
        "of them");
  }
  HEED_TRY(check_prompt(engine, seq, prompt));
  const auto count = static_cast<size_t>(n);
  HEED_ASSIGN(const auto sampling, samplers(engine, seq, prompt, count, options));
  Generation common;
  HEED_ASSIGN(const bool go_on, prefill_prompt(engine, seq, prompt, options, common));
  std::vector<Generation> out(count, common);
  for (size_t i = 0; i < count; ++i) out[i].seed = sampling[i]->seed();
  if (!go_on) return out;
  Forks seqs(engine, seq);
  HEED_TRY(seqs.grow(count));
  std::vector<Answer> answers;
  answers.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    answers.emplace_back(engine, *sampling[i], options, start, out[i]);
    if (i > 0) answers.back().keep_quiet();
  }
  HEED_TRY(decode_answers(engine, seqs, answers, options.cancel));
  return out;
}

}  // namespace

Result<std::vector<Generation>> generate_several(Engine& engine, SeqId seq,
                                                 std::span<const Token> prompt, int n,
                                                 const GenerateOptions& options) {
  return guarded("generating", [&] { return several(engine, seq, prompt, n, options); });
}

}  // namespace heed
