// The items and units of a plan that is selected inside a step: everything that is known before the
// graph, so that compiling writes into memory that is there.
#pragma once

#include <cstdint>
#include <vector>

#include "heed/attention.h"
#include "heed/status.h"
#include "select/compile.h"

namespace heed::select {

// How the rows and heads of a layer are cut.
struct Cut {
  int block = 64;             // query rows that share a key set
  int64_t position = kNoCut;  // where a block ends early, absolute
  bool group_shared = true;   // one key set for all heads that read a KV head, or one for each
  SetBound bound;
};

class PlanLayout {
 public:
  // Lays out the plan of `call`, which has one sequence of consecutive positions, for this and for
  // calls like it whose lists have up to `slots` slots. Errors: memory, a plan too large.
  Status lay_out(const Call& call, const Cut& cut, int64_t slots);
  // What that takes for up to `rows` rows against lists of up to `slots` slots.
  static Result<uint64_t> bytes_of(const HeadMap& heads, int dk, int dv, int32_t rows,
                                   int64_t slots, const Cut& cut);

  int sets() const { return sets_; }
  const std::vector<QueryBlock>& blocks() const { return blocks_; }
  const std::vector<Unit>& units() const { return units_; }  // heavy ones first
  const Plan& plan() const { return plan_; }
  const PlanRoom& room() const { return room_; }

  // Compiles one unit from its set of `table`, by any thread.
  bool compile(size_t unit, const KeySetTable& table, const Call& call) {
    const Unit& u = units_[unit];
    return select::compile(table.at(u.set, u.set_block), call, u, room_, plan_);
  }

 private:
  void add_unit(const Call& call, int set, int kv_head, int block, const Cut& cut);

  int sets_ = 0;
  PlanRoom room_;
  std::vector<QueryBlock> blocks_;
  std::vector<Unit> units_;
  Plan plan_;
};

// Key sets of a layer: one for each KV head or for each query head.
inline int sets_of(const HeadMap& heads, bool group_shared) {
  return group_shared ? heads.n_kv : heads.n_q;
}

}  // namespace heed::select
