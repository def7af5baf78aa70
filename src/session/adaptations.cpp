#include "session/adaptations.h"

#include <ggml.h>

#include <cmath>
#include <vector>

#include "base/guard.h"
#include "base/text.h"
#include "session/engine_impl.h"

namespace heed {
namespace {

Status check_lora(const ScaledLora& lora, const ModelWeights& weights) {
  if (!lora.adapter) return Status(Code::kInvalidArgument, "an adaptation names no adapter");
  const LoraAdapter& adapter = *lora.adapter;
  const std::string& path = adapter.info().path;
  if (!std::isfinite(lora.scale)) {
    return error(Code::kInvalidArgument, path, ": scale ", lora.scale, " must be finite");
  }
  const bool same_layers =
      adapter.targets() == target_count(static_cast<int>(weights.layers.size()));
  for (int t = 0; t < adapter.targets(); ++t) {
    const LoraAdapter::Factors* const factors = adapter.find(t);
    if (factors == nullptr) continue;
    const ggml_tensor* const tensor = same_layers ? target_tensor(weights, t) : nullptr;
    const bool fits =
        tensor != nullptr && tensor->ne[0] == factors->inputs && tensor->ne[1] == factors->outputs;
    if (!fits) {
      return error(Code::kInvalidArgument, path,
                   ": was loaded for another model; load it for this "
                   "one");
    }
  }
  return Status::ok();
}

}  // namespace

Status Adaptations::prepare(const Adaptation& adaptation) {
  if (adaptation.loras.size() > Adaptation::kMostLoras) {
    return error(Code::kOutOfRange, "an adaptation of ", adaptation.loras.size(),
                 " LoRA adapters, must be 0 to ", Adaptation::kMostLoras);
  }
  std::vector<const LoraAdapter*> loras;
  for (const ScaledLora& lora : adaptation.loras) {
    HEED_TRY(check_lora(lora, weights_));
    loras.push_back(lora.adapter.get());
  }
  if (const ControlVector* control = adaptation.control.get()) {
    if (control->directions.size() != weights_.layers.size() ||
        control->embd != weights_.embeddings->ne[0]) {
      return Status(Code::kInvalidArgument,
                    "the control vector was loaded for another model; load it for this one");
    }
  }
  return rows_.reserve(AdaptedRows::needs_of(loras));
}

void Adaptations::set(SeqId seq, std::shared_ptr<const Adaptation> adaptation) {
  if (!adaptation) return drop(seq);
  of_sequence_[seq] = std::move(adaptation);
}

std::shared_ptr<const Adaptation> Adaptations::of(SeqId seq) const {
  const auto at = of_sequence_.find(seq);
  return at == of_sequence_.end() ? nullptr : at->second;
}

AdaptedKey Adaptations::measured_key(SeqId seq) const {
  const auto adaptation = of(seq);
  if (!adaptation) return {};
  auto targets = std::make_shared<AdaptedTargets>(static_cast<int>(weights_.layers.size()));
  targets->add(*adaptation);
  return {std::move(targets)};
}

AdaptedKey Adaptations::enter(std::span<const SeqSpan> seqs) {
  rows_.runs.clear();
  if (of_sequence_.empty()) return {};
  auto targets = std::make_shared<AdaptedTargets>(static_cast<int>(weights_.layers.size()));
  int64_t first = 0;
  for (const SeqSpan& seq : seqs) {
    const auto rows = static_cast<int64_t>(seq.tokens.size());
    if (const auto at = of_sequence_.find(seq.id); at != of_sequence_.end()) {
      const Adaptation* const one = at->second.get();
      AdaptedRun* const last = rows_.runs.empty() ? nullptr : &rows_.runs.back();
      if (last != nullptr && last->adaptation == one && last->first + last->rows == first) {
        last->rows += rows;
      } else {
        rows_.runs.push_back({first, rows, one});
        targets->add(*one);
      }
    }
    first += rows;
  }
  if (rows_.runs.empty()) return {};
  targets->rows = &rows_;
  return {std::move(targets)};
}

Result<PlannedAdaptation> plan_adaptation(const GgufFile& file, const Hyperparameters& hyper,
                                          int threads, int max_rows, const PlannedRun& run) {
  PlannedAdaptation planned;
  if (run.loras.empty() && !run.control_vector) return planned;
  auto targets = std::make_shared<AdaptedTargets>(hyper.layers);
  std::vector<std::shared_ptr<const LoraAdapter>> loras;
  std::vector<const LoraAdapter*> all;
  for (const std::string& path : run.loras) {
    HEED_ASSIGN(const auto adapter, GgufFile::open(path));
    auto lora = LoraAdapter::make(*adapter, file, hyper, {}, false);
    if (!lora.is_ok()) return lora.status().with_context(path);
    targets->add(**lora);
    planned.weights += (*lora)->bytes();
    all.push_back(lora->get());
    loras.push_back(std::move(*lora));
  }
  planned.compute = AdaptedRows::bytes_of(AdaptedRows::needs_of(all), threads, max_rows);
  if (run.control_vector) {
    targets->steered.assign(targets->steered.size(), true);
    planned.weights +=
        static_cast<uint64_t>(hyper.layers) * static_cast<uint64_t>(hyper.embd) * sizeof(float);
  }
  planned.key.targets = std::move(targets);
  return planned;
}

Status set_adaptation(Engine& engine, SeqId seq, std::shared_ptr<const Adaptation> adaptation) {
  return guarded("setting an adaptation", [&]() -> Status {
    Engine::Impl& impl = engine.impl();
    HEED_TRY(impl.check_settled(seq));
    if (const int64_t held = engine.length(seq); held > 0) {
      return error(Code::kInvalidArgument, "sequence ", seq, " holds ", held,
                   " tokens whose keys and values another adaptation cannot use; truncate it to 0 "
                   "or take a new one");
    }
    if (adaptation) HEED_TRY(impl.adaptations->prepare(*adaptation));
    impl.adaptations->set(seq, std::move(adaptation));
    return Status::ok();
  });
}

std::shared_ptr<const Adaptation> adaptation_of(const Engine& engine, SeqId seq) {
  return engine.impl().adaptations->of(seq);
}

}  // namespace heed
