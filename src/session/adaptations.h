// Which sequence has which adaptation, and what a step over some of them takes up.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>

#include "heed/adapters.h"
#include "model/adapted.h"
#include "model/weights.h"
#include "session/step.h"

namespace heed {

class Adaptations {
 public:
  // `weights` outlive this.
  Adaptations(const ModelWeights& weights, Isa isa, int threads, int max_rows)
      : weights_(weights), rows_(isa, threads, max_rows) {}

  // Whether it was made for this model, with memory for its nodes. Before set().
  Status prepare(const Adaptation& adaptation);
  // Null: none.
  void set(SeqId seq, std::shared_ptr<const Adaptation> adaptation);
  void drop(SeqId seq) noexcept { of_sequence_.erase(seq); }
  std::shared_ptr<const Adaptation> of(SeqId seq) const;
  // What graphs of its steps take up, to measure them; they cannot run.
  AdaptedKey measured_key(SeqId seq) const;

  // Before a step: its nodes will find the rows of these sequences. What the step's graph has to
  // take up.
  AdaptedKey enter(std::span<const SeqSpan> seqs);

 private:
  const ModelWeights& weights_;
  AdaptedRows rows_;
  std::unordered_map<SeqId, std::shared_ptr<const Adaptation>> of_sequence_;
};

// Factors and directions in memory, and what their nodes work in.
struct PlannedAdaptation {
  AdaptedKey key;
  uint64_t weights = 0, compute = 0;
};

// Of PlannedRun::loras and control_vector, from headers alone.
Result<PlannedAdaptation> plan_adaptation(const GgufFile& file, const Hyperparameters& hyper,
                                          int threads, int max_rows, const PlannedRun& run);

}  // namespace heed
