// A GBNF grammar as a small program: one run of instructions a rule, jumps in place of groups and
// repetitions, so that a state of the grammar is a set of program counters and their callers.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "heed/model.h"
#include "heed/status.h"

namespace heed {

struct GrammarLimits {
  size_t text = 1 << 20;          // bytes of the grammar
  size_t instructions = 1 << 20;  // behind all repetitions written out
  int depth = 200;                // parentheses in parentheses
};

struct GrammarInstruction {
  enum class Op : uint8_t {
    kRange,     // one character from a to b
    kSet,       // one of the ranges [a, a + b), or with `negated` none of them
    kToken,     // the token a, or with `negated` any other
    kCall,      // rule a
    kTailCall,  // the same as the last thing of a rule: its caller needs no place to come back to
    kSplit,     // here + 1 and here + jump
    kJump,      // here + jump
    kReturn,
  };
  Op op = Op::kReturn;
  bool negated = false;
  uint32_t a = 0, b = 0;
  int32_t jump = 0;
};

struct CharRange {
  uint32_t low = 0, high = 0;

  bool holds(uint32_t c) const { return low <= c && c <= high; }
};

// A single token named in a grammar: <name> or <[id]>.
using TokenByName = std::function<Result<Token>(std::string_view name)>;

struct GrammarProgram {
  std::vector<GrammarInstruction> code;
  std::vector<CharRange> ranges;
  std::vector<uint32_t> entry;  // of each rule in `code`
  uint32_t root = 0;            // the rule that the answer is

  // GBNF as llama.cpp reads it. Errors name line and column. Left recursion is allowed: what runs
  // the program needs no order of the rules.
  static Result<GrammarProgram> parse(std::string_view text, const TokenByName& token,
                                      const GrammarLimits& limits = {});

  bool matches(const GrammarInstruction& at, uint32_t character) const;
  // Some character between low and high matches.
  bool matches_some(const GrammarInstruction& at, uint32_t low, uint32_t high) const;
};

}  // namespace heed
