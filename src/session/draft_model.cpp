// Guesses of a smaller model: its own greedy continuation.
#include <algorithm>
#include <cmath>
#include <utility>

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

class ModelDrafter;

// The engine of the answers that are drafted for, each in a sequence of its own.
struct DraftEngine {
  std::unique_ptr<Engine> engine;
  std::vector<ModelDrafter*> drafters;
};

class ModelDrafter final : public Drafter {
 public:
  // With a place for it among the drafters, so that nothing fails here.
  ModelDrafter(std::shared_ptr<DraftEngine> shared, SeqId seq, float p_min)
      : shared_(std::move(shared)), engine_(shared_->engine.get()), seq_(seq), p_min_(p_min) {
    shared_->drafters.push_back(this);
  }
  ~ModelDrafter() override {
    std::erase(shared_->drafters, this);
    (void)engine_->drop(seq_).is_ok();
  }
  ModelDrafter(const ModelDrafter&) = delete;
  ModelDrafter& operator=(const ModelDrafter&) = delete;

  static Result<std::unique_ptr<Drafter>> make(std::shared_ptr<DraftEngine> shared, float p_min) {
    shared->drafters.reserve(shared->drafters.size() + 1);
    HEED_ASSIGN(const SeqId seq, shared->engine->create_sequence());
    return std::unique_ptr<Drafter>(new ModelDrafter(std::move(shared), seq, p_min));
  }

  std::string name() const override {
    const ModelInfo& info = engine_->model().info();
    const std::string file = info.path.substr(info.path.rfind('/') + 1);
    return info.name.empty() ? file : info.name;
  }

  Status propose(std::span<const Token> text, int most, const CancelToken* cancel,
                 std::vector<Token>& draft) override {
    return guarded("drafting", [&] { return propose_unguarded(text, most, cancel, draft); });
  }

  Result<std::unique_ptr<Drafter>> another() override {
    return guarded("making a drafter", [&] { return make(shared_, p_min_); });
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

  // The first text: what another one has read of it is not read again.
  Status begin_like_another(std::span<const Token> text) {
    const ModelDrafter* best = nullptr;
    std::ptrdiff_t longest = 0;
    for (const ModelDrafter* one : shared_->drafters) {
      const auto& held = one->held_;
      const auto agree =
          std::mismatch(held.begin(), held.end(), text.begin(), text.end()).first - held.begin();
      if (agree <= longest) continue;
      best = one;
      longest = agree;
    }
    if (best == nullptr) return Status::ok();
    std::vector<Token> held = best->held_;
    HEED_ASSIGN(const SeqId seq, engine_->fork(best->seq_));
    (void)engine_->drop(seq_).is_ok();
    seq_ = seq;
    held_ = std::move(held);
    return Status::ok();
  }

  // Brings the sequence to `text`, of which it holds the beginning and, behind that, old guesses.
  Status take_up(std::span<const Token> text, const CancelToken* cancel) {
    if (held_.empty()) HEED_TRY(begin_like_another(text));
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

  std::shared_ptr<DraftEngine> shared_;
  Engine* engine_;  // its
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
    auto shared = std::make_shared<DraftEngine>();
    shared->engine = std::move(engine);
    return ModelDrafter::make(std::move(shared), options.p_min);
  });
}

}  // namespace heed
