// Several engines over the same windows of tokens, chunk by chunk in lockstep: only one chunk's
// logits of each engine exist at a time, whatever the length of the text.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/kl_math.h"
#include "eval/logit_source.h"

namespace heed::eval {

// KL(sources[a] || sources[b]).
struct Pair {
  size_t a = 0, b = 0;
  PairStats stats;
};

struct PassOptions {
  int chunk = 512;  // tokens fed at once
  int threads = 1;  // for the comparison
  const CancelToken* cancel = nullptr;
  std::function<void(int64_t done, int64_t total)> progress;  // positions
};

// Every position of every window goes into every pair. Errors: of an engine; logits that are not
// numbers, with the position.
Status run_pairs(std::span<const std::unique_ptr<LogitSource>> sources, std::span<Pair> pairs,
                 std::span<const std::vector<Token>> windows, const PassOptions& options);

// Windows of n tokens; an incomplete last one is dropped. `prefix` (the token that the model
// expects at the start of every sequence, or nothing) opens each window and counts towards its n.
std::vector<std::vector<Token>> cut_windows(std::span<const Token> text,
                                            std::span<const Token> prefix, int64_t n,
                                            int64_t max_windows);

// `text` through the model's tokenizer, cut. Errors: fewer than n tokens, with both numbers.
Result<std::vector<std::vector<Token>>> text_windows(const Model& model, const std::string& text,
                                                     int64_t n, int64_t max_windows);

}  // namespace heed::eval
