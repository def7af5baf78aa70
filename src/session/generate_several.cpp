// Several answers to one prompt: it is read once, its pages are shared, and every step decodes one
// token of each answer that has not ended.
#include <vector>

#include "base/guard.h"
#include "base/text.h"
#include "session/generate.h"
#include "session/speculation.h"

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

// Of the answers behind the first; null where that one's guesses for all in turn.
Result<std::vector<std::unique_ptr<Drafter>>> other_drafters(Drafter* first, size_t n) {
  std::vector<std::unique_ptr<Drafter>> out(n);
  if (first == nullptr) return out;
  for (auto& one : out) {
    HEED_ASSIGN(one, first->another());
  }
  return out;
}

Result<std::vector<Generation>> several(Engine& engine, SeqId seq, std::span<const Token> prompt,
                                        int n, const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  if (n < 1 || n > engine.options().max_sequences) {
    return error(Code::kOutOfRange, n, " answers, must be 1 to ", engine.options().max_sequences,
                 " (max_sequences)");
  }
  HEED_TRY(check_drafts(options.draft));
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
  HEED_ASSIGN(const auto drafters, other_drafters(options.draft.drafter, count - 1));
  std::vector<AnswerSteps> steps;
  steps.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    answers.emplace_back(engine, *sampling[i], options, start, out[i]);
    if (i > 0) answers.back().keep_quiet();
    DraftOptions draft = options.draft;
    if (i > 0 && drafters[i - 1]) draft.drafter = drafters[i - 1].get();
    steps.emplace_back(engine, seqs[i], draft);
  }
  const Status status = decode_answers(engine, answers, steps, options.cancel);
  HEED_TRY(steps[0].settle());
  HEED_TRY(status);
  for (size_t i = 0; i < count; ++i) out[i].draft = steps[i].report();
  return out;
}

}  // namespace

Result<std::vector<Generation>> generate_several(Engine& engine, SeqId seq,
                                                 std::span<const Token> prompt, int n,
                                                 const GenerateOptions& options) {
  return guarded("generating", [&] { return several(engine, seq, prompt, n, options); });
}

}  // namespace heed
