// Guesses of a smaller model: its own greedy continuation.
#include <algorithm>
#include <cmath>

#include "base/guard.h"
#include "base/text.h"
#include "heed/speculative.h"
#include "session/engine_impl.h"

namespace heed {
namespace {

struct Guess {
  Token token = -1;
  float probability = 1;  // under all tokens; 1 where nobody asks
};

Guess most_likely(std::span<const float> logits, bool with_probability) {
  const auto best = std::max_element(logits.begin(), logits.end());
  Guess guess{static_cast<Token>(best - logits.begin()), 1};
  if (!with_probability) return guess;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - *best);
  guess.probability = static_cast<float>(1 / sum);
  return guess;
}

class ModelDrafter final : public Drafter {
 public:
  ModelDrafter(std::unique_ptr<Engine> engine, SeqId seq, float p_min)
      : engine_(std::move(engine)), seq_(seq), p_min_(p_min) {}

  std::string name() const override {
    const ModelInfo& info = engine_->model().info();
    const std::string file = info.path.substr(info.path.rfind('/') + 1);
    return info.name.empty() ? file : info.name;
  }

  Status propose(std::span<const Token> text, int most, const CancelToken* cancel,
                 std::vector<Token>& draft) override {
    return guarded("drafting", [&] { return propose_unguarded(text, most, cancel, draft); });
  }

 private:
  Status propose_unguarded(std::span<const Token> text, int most, const CancelToken* cancel,
                           std::vector<Token>& draft) {
    // The last guess is not decoded.
    const int64_t room = engine_->options().context - static_cast<int64_t>(text.size()) + 1;
    most = static_cast<int>(std::min<int64_t>(most, room));
    // A token that only the target has: nothing to start from.
    const Token vocab = engine_->model().info().vocab;
    const auto foreign = [vocab](Token t) { return t >= vocab; };
    if (most <= 0 || std::any_of(text.begin(), text.end(), foreign)) return Status::ok();
    HEED_TRY(take_up(text, cancel));
    for (;;) {
      HEED_ASSIGN(const std::span<const float> logits, engine_->logits(seq_));
      const Guess guess = most_likely(logits, p_min_ > 0);
      if (guess.probability < p_min_) return Status::ok();
      draft.push_back(guess.token);
      if (static_cast<int>(draft.size()) == most || engine_->model().is_end(guess.token)) {
        return Status::ok();
      }
      const SeqToken next{seq_, guess.token};
      HEED_TRY(engine_->decode({&next, 1}, cancel));
      held_.push_back(guess.token);
    }
  }

  // Brings the sequence to `text`, of which it holds the beginning and, behind that, old guesses.
  Status take_up(std::span<const Token> text, const CancelToken* cancel) {
    const auto differ = std::mismatch(held_.begin(), held_.end(), text.begin(), text.end()).first;
    auto keep = static_cast<size_t>(differ - held_.begin());
    keep = std::min(keep, text.size() - 1);  // logits come with a token
    HEED_TRY(engine_->truncate(seq_, static_cast<int64_t>(keep)));
    held_.resize(keep);
    PrefillOptions options;
    options.cancel = cancel;
    const Status status = engine_->prefill(seq_, text.subspan(keep), options);
    // What a cancel or an error left of it counts.
    const auto length = static_cast<size_t>(engine_->length(seq_));
    held_.assign(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length));
    return status;
  }

  std::unique_ptr<Engine> engine_;
  SeqId seq_;
  float p_min_;
  std::vector<Token> held_;  // tokens of the sequence
};

}  // namespace

Result<std::unique_ptr<Drafter>> make_model_drafter(std::shared_ptr<Model> draft,
                                                    const Engine& target,
                                                    const DraftModelOptions& options) {
  return guarded("making a drafter", [&]() -> Result<std::unique_ptr<Drafter>> {
    if (!draft) return Status(Code::kInvalidArgument, "a drafter needs a model");
    if (!(options.p_min >= 0 && options.p_min <= 1)) {
      return error(Code::kOutOfRange, "p_min of a draft is ", options.p_min, ", must be 0 to 1");
    }
    HEED_TRY(check_draft_vocabulary(*draft, target.model()));
    EngineOptions engine_options = options.engine;
    engine_options.max_sequences = 1;
    HEED_ASSIGN(auto engine, Engine::create(std::move(draft), engine_options));
    if (engine->model().threads() == target.model().threads()) {
      engine->impl().share_threads(target.impl());
    }
    HEED_ASSIGN(const SeqId seq, engine->create_sequence());
    return std::unique_ptr<Drafter>(new ModelDrafter(std::move(engine), seq, options.p_min));
  });
}

}  // namespace heed
