// Runs a prefill selector for one layer over the threads of a step, and makes the plan that its key
// sets say.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "cpu/team.h"
#include "heed/attention.h"
#include "heed/status.h"
#include "mechanisms/prefill.h"
#include "select/layout.h"

namespace heed {

// Positions [first, end) of the prompt that a chunk belongs to.
struct PromptSpan {
  int64_t first = 0;
  int64_t end = 0;
};

class Selection {
 public:
  explicit Selection(const PrefillSelector& selector) : selector_(selector) {}
  Selection(const Selection&) = delete;
  Selection& operator=(const Selection&) = delete;

  const PrefillSelector& selector() const { return selector_; }

  // What prepare() takes for chunks inside `shape`. Errors: sizes that no plan reaches.
  static Result<uint64_t> bytes_of(const PrefillSelector& selector, const SelectShape& shape);

  // --- before the graph, by one thread. `call` is that of one layer without q; run() may then be
  // called for every layer that is like it and whose lists have up to `slots` slots. Errors:
  // memory, a call of several sequences; then nothing may run.
  Status prepare(const Call& call, PromptSpan prompt, int64_t slots, int threads);
  // The plan at hand: items before run(), their ranges behind it.
  const Plan& plan() const { return layout_.plan(); }

  // --- inside the graph, by every member with the same arguments. `call` has q (rotated by
  // call.rotary on the way). Behind it, for all members alike: true and plan() is complete, or
  // false and failure() says why. Neither allocates nor throws.
  bool run(const Call& call, int layer, Isa isa, int member, int members);

  // --- behind that
  Status failure() const;  // of the last run; ok when it returned true
  // What the plan computes, by query head; `counts` [n_q] is added to.
  void add_counts(std::span<select::PlanCounts> counts) const;
  uint64_t tiles() const;  // of all heads: RunCounters::tiles of a run of the plan

 private:
  SelectInput make_input(const Call& call, int layer, Isa isa) const;
  void run_phase(int phase, const SelectInput& in, int member);
  void compile_units(const Call& call);
  void fail(int phase, int64_t item);
  void rotate(const Call& call, Isa isa, int member, int members);
  template <class Fn>
  void deal(int counter, int64_t items, const Fn& fn);

  const PrefillSelector& selector_;
  PromptSpan prompt_;
  HeadMap heads_;
  int layer_ = 0;
  select::PlanLayout layout_;
  select::KeySetTable sets_;
  std::vector<select::PlanCounts> counts_;  // [items] of one head of each
  AlignedMemory shared_, own_, rotated_;    // scratch; rotated queries [rows, H, dk]
  size_t shared_bytes_ = 0, own_bytes_ = 0, rotated_bytes_ = 0;  // that these have
  size_t own_stride_ = 0;                                        // of a thread

  // Counters that deal the items of a phase, then the units to compile. Each is set back behind the
  // barrier that ends its use.
  std::atomic<int64_t> next_[PrefillSelector::kMostPhases + 1] = {};
  cpu::Barrier barrier_;
  std::atomic<bool> failed_{false};
  std::atomic<int64_t> failed_at_{0};  // phase and item of one that failed
};

}  // namespace heed
