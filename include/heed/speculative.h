// Speculative decoding: something cheap guesses the next tokens, the model checks all of them in
// one step. The sampler draws every token from the model's own logits, in order, so the answer is
// that of plain decoding; a guess only decides how many tokens a step gives.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heed/engine.h"

namespace heed {

// Guesses what follows a text.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual std::string name() const = 0;  // for reports
  // Tokens that may follow `text`, at most `most` of them, into `draft`, which comes empty. None is
  // an answer too. Texts of one answer begin alike.
  virtual Status propose(std::span<const Token> text, int most, const CancelToken* cancel,
                         std::vector<Token>& draft) = 0;
  // One that guesses alike for another answer to the same prompt and may share what this one holds;
  // either may go first. Null: this one guesses for several answers in turn.
  virtual Result<std::unique_ptr<Drafter>> another() { return std::unique_ptr<Drafter>(); }
};

// Prompt lookup: where the last tokens of the text stood before, what followed them there follows
// again. Of all places the one that agrees with most tokens before it, of equals the latest.
struct LookupOptions {
  static constexpr int kMaxNgram = 64;
  int ngram = 3;  // last tokens that must agree, 1 to kMaxNgram
};
Result<std::unique_ptr<Drafter>> make_lookup_drafter(const LookupOptions& options);

// A smaller model with the same vocabulary, decoded greedily.
struct DraftModelOptions {
  EngineOptions engine;  // a text beyond its context gets no guesses
  float p_min = 0;       // a guess less likely than this ends the draft
};
// `target` is the engine whose tokens are guessed; with as many threads as `draft` has both compute
// with the same ones, and the target must live longer. Errors: another vocabulary, with what
// differs.
Result<std::unique_ptr<Drafter>> make_model_drafter(std::shared_ptr<Model> draft,
                                                    const Engine& target,
                                                    const DraftModelOptions& options);

// Whether the tokens of `draft` mean the same in `target`: llama.cpp's rules. Control tokens below
// 5 may differ in their text, and up to 128 tokens may be there in one of them only.
Status check_draft_vocabulary(const Model& draft, const Model& target);

struct DraftOptions {
  static constexpr int kMostDrafted = Engine::kLogitRows - 1;
  Drafter* drafter = nullptr;  // null: plain decoding
  int max = 3;                 // tokens a draft, 1 to kMostDrafted
  int min = 0;                 // a shorter one is not tried
};

struct DraftReport {
  std::string drafter;  // its name, empty without one
  int64_t steps = 0;    // of the model behind the prompt
  int64_t drafted = 0;  // tokens guessed and checked
  int64_t accepted = 0;
  double draft_s = 0;  // what guessing took
  // Why guessing ended before the answer did: an error of the drafter, which does not end the
  // answer.
  std::string stopped;
};

}  // namespace heed
