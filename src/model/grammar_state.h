// Where an answer stands in a grammar: a set of places, each with its callers.
//
// The callers form a graph (one node for a rule called at one character, however many call it
// there), as in generalised LL parsing. A list of stacks, the plain form, doubles with every
// character of an ambiguous grammar; here a character costs at most places times callers.
#pragma once

#include <cstdint>
#include <vector>

#include "heed/status.h"
#include "model/grammar_program.h"

namespace heed {

class GrammarState {
 public:
  struct Place {
    uint32_t pc = 0, node = 0;

    bool operator==(const Place&) const = default;
  };
  // The places behind some characters: all wait for a character or a token.
  struct Level {
    std::vector<Place> places;
    bool complete = false;  // the answer may end here
    size_t nodes = 0;       // in the graph, for going back

    bool dead() const { return places.empty() && !complete; }
  };

  explicit GrammarState(const GrammarProgram& program);

  // The places at the start of an answer.
  Status start(Level& out);
  // Behind one more character, which `from` may refuse: `out` is dead then.
  Status step(const Level& from, uint32_t character, Level& out);
  // Behind a token that `from` names as such.
  Status step_token(const Level& from, uint32_t token, Level& out);
  // Forgets what was made behind `level`.
  void back_to(const Level& level) { used_ = level.nodes; }
  // Drops the nodes that no place of `level` leads to, once they are many.
  void compact(Level& level);

  // Work since the last call of this: a bound of time that does not depend on the machine.
  void renew_budget(uint64_t steps) { budget_ = steps; }

 private:
  struct Node {
    uint64_t made = 0;      // the position at which
    bool returned = false;  // at that position already
    std::vector<Place> callers;
    std::vector<uint32_t> followers;  // tail calls made at that position: they get its callers
  };

  Status run(Level& out);
  void visit(const Place& place, Level& out);
  void call(const Place& place, bool tail);
  uint32_t node_of(uint32_t rule);
  void add_caller(uint32_t node, const Place& caller);
  bool first_visit(const Place& place);
  void begin_position();

  const GrammarProgram* program_;
  std::vector<Node> nodes_;  // [0, used_)
  size_t used_ = 0;
  size_t kept_ = 64;                 // nodes behind the last compact()
  uint64_t position_ = 0;            // counts begin_position()
  std::vector<uint64_t> called_at_;  // per rule, the position of its node
  std::vector<uint32_t> called_;     // per rule
  struct Mark {
    uint64_t position = 0;
    Place place;
  };
  std::vector<Mark> marks_;  // open addressing; a power of two
  size_t marked_ = 0;
  std::vector<Place> todo_;
  uint64_t budget_ = 0;
};

}  // namespace heed
