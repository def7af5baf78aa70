#include "model/grammar_state.h"

#include <algorithm>

#include "base/text.h"

namespace heed {
namespace {

using Op = GrammarInstruction::Op;

constexpr uint32_t kEnd = UINT32_MAX;  // the counter behind the root rule
constexpr size_t kMostNodes = 1 << 20;

uint64_t hash(const GrammarState::Place& place) {
  uint64_t x = (static_cast<uint64_t>(place.pc) << 32 | place.node) * 0x9E3779B97F4A7C15ull;
  return x ^ x >> 29;
}

}  // namespace

GrammarState::GrammarState(const GrammarProgram& program)
    : program_(&program),
      called_at_(program.entry.size(), 0),
      called_(program.entry.size(), 0),
      marks_(256) {}

void GrammarState::begin_position() {
  ++position_;
  marked_ = 0;
}

bool GrammarState::first_visit(const Place& place) {
  if (2 * marked_ >= marks_.size()) {
    std::vector<Mark> old(2 * marks_.size());
    old.swap(marks_);
    marked_ = 0;
    for (const Mark& mark : old) {
      if (mark.position == position_) first_visit(mark.place);
    }
  }
  const size_t mask = marks_.size() - 1;
  for (size_t at = hash(place) & mask;; at = (at + 1) & mask) {
    if (marks_[at].position != position_) {
      marks_[at] = {position_, place};
      ++marked_;
      return true;
    }
    if (marks_[at].place == place) return false;
  }
}

uint32_t GrammarState::node_of(uint32_t rule) {
  if (called_at_[rule] == position_) return called_[rule];
  if (used_ == nodes_.size()) nodes_.emplace_back();
  Node& node = nodes_[used_];
  node.made = position_;
  node.returned = false;
  node.callers.clear();
  node.followers.clear();
  called_at_[rule] = position_;
  called_[rule] = static_cast<uint32_t>(used_++);
  todo_.push_back({program_->entry[rule], called_[rule]});
  return called_[rule];
}

void GrammarState::add_caller(uint32_t node, const Place& caller) {
  std::vector<std::pair<uint32_t, Place>> more{{node, caller}};
  while (!more.empty()) {
    const auto [to, from] = more.back();
    more.pop_back();
    Node& n = nodes_[to];
    budget_ -= std::min<uint64_t>(budget_, n.callers.size());
    if (std::find(n.callers.begin(), n.callers.end(), from) != n.callers.end()) continue;
    n.callers.push_back(from);
    // What has gone through the whole rule without a character goes on behind this caller too.
    if (n.returned) todo_.push_back(from);
    for (const uint32_t follower : n.followers) more.emplace_back(follower, from);
  }
}

void GrammarState::call(const Place& place, bool tail) {
  const uint32_t node = node_of(program_->code[place.pc].a);
  if (!tail) return add_caller(node, {place.pc + 1, place.node});
  if (node == place.node) return;
  const std::vector<Place> callers = nodes_[place.node].callers;
  for (const Place& caller : callers) add_caller(node, caller);
  Node& own = nodes_[place.node];
  // Only nodes of this position still get callers.
  if (own.made == position_) own.followers.push_back(node);
}

void GrammarState::visit(const Place& place, Level& out) {
  if (place.pc == kEnd) {
    out.complete = true;
    return;
  }
  const GrammarInstruction& at = program_->code[place.pc];
  switch (at.op) {
    case Op::kRange:
    case Op::kSet:
    case Op::kToken: out.places.push_back(place); break;
    case Op::kSplit: todo_.push_back({place.pc + 1, place.node}); [[fallthrough]];
    case Op::kJump:
      todo_.push_back(
          {static_cast<uint32_t>(static_cast<int64_t>(place.pc) + at.jump), place.node});
      break;
    case Op::kCall: call(place, false); break;
    case Op::kTailCall: call(place, true); break;
    case Op::kReturn: {
      Node& node = nodes_[place.node];
      if (node.made == position_) node.returned = true;
      todo_.insert(todo_.end(), node.callers.begin(), node.callers.end());
      const auto cost = static_cast<uint64_t>(node.callers.size());
      budget_ -= std::min(budget_, cost);
      break;
    }
  }
}

Status GrammarState::run(Level& out) {
  while (!todo_.empty()) {
    const Place place = todo_.back();
    todo_.pop_back();
    if (!first_visit(place)) continue;
    if (budget_ == 0 || used_ > kMostNodes) {
      todo_.clear();
      return Status(Code::kResourceExhausted,
                    "the grammar is too ambiguous: one token takes too many steps through it; "
                    "write it so that fewer rules match the same text");
    }
    --budget_;
    visit(place, out);
  }
  out.nodes = used_;
  return Status::ok();
}

Status GrammarState::start(Level& out) {
  out = {};
  begin_position();
  todo_.clear();
  const uint32_t root = node_of(program_->root);
  nodes_[root].callers.push_back({kEnd, 0});
  return run(out);
}

Status GrammarState::step(const Level& from, uint32_t character, Level& out) {
  out.places.clear();
  out.complete = false;
  begin_position();
  todo_.clear();
  for (const Place& place : from.places) {
    if (program_->matches(program_->code[place.pc], character)) {
      todo_.push_back({place.pc + 1, place.node});
    }
  }
  budget_ -= std::min<uint64_t>(budget_, from.places.size());
  return run(out);
}

Status GrammarState::step_token(const Level& from, uint32_t token, Level& out) {
  out.places.clear();
  out.complete = false;
  begin_position();
  todo_.clear();
  for (const Place& place : from.places) {
    const GrammarInstruction& at = program_->code[place.pc];
    if (at.op == Op::kToken && (at.a == token) != at.negated) {
      todo_.push_back({place.pc + 1, place.node});
    }
  }
  return run(out);
}

void GrammarState::compact(Level& level) {
  used_ = level.nodes;
  if (used_ < 2 * kept_) return;
  constexpr uint32_t kUnseen = UINT32_MAX;
  std::vector<uint32_t> renamed(used_, kUnseen);
  std::vector<uint32_t> reached;
  const auto reach = [&](uint32_t node) {
    if (renamed[node] != kUnseen) return;
    renamed[node] = 0;
    reached.push_back(node);
  };
  for (const Place& place : level.places) reach(place.node);
  while (!reached.empty()) {
    const uint32_t node = reached.back();
    reached.pop_back();
    for (const Place& caller : nodes_[node].callers) {
      if (caller.pc != kEnd) reach(caller.node);
    }
  }
  uint32_t count = 0;
  for (uint32_t node = 0; node < used_; ++node) {
    if (renamed[node] == kUnseen) continue;
    renamed[node] = count;
    if (node != count) std::swap(nodes_[node], nodes_[count]);
    ++count;
  }
  used_ = level.nodes = count;
  for (Place& place : level.places) place.node = renamed[place.node];
  for (uint32_t node = 0; node < count; ++node) {
    for (Place& caller : nodes_[node].callers) {
      if (caller.pc != kEnd) caller.node = renamed[caller.node];
    }
  }
  kept_ = std::max<size_t>(count, 64);
}

}  // namespace heed
