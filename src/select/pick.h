// Which candidates to keep: the k best, the best whose mass reaches p, or those above a threshold.
//
// One order everywhere: higher score first, then the lower index. A candidate of -inf or NaN is
// kept only when it is forced. What is kept comes out ascending, each index once. Nothing is
// sorted: an order statistic of n floats takes three passes over histograms of 11 bits of their
// keys, the later ones over what is left of the crossing bucket; the last pass emits by index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heed::select {

// Scratch for picks among up to n candidates, 64-byte aligned.
size_t pick_bytes(int64_t n);

// All functions: `forced` ascending and distinct; `out` has room for scores.size(); they return how
// many were written.

// The k best, forced ones first: max(k, forced) of them, fewer where fewer can be kept.
int32_t top_k(std::span<const float> scores, int64_t k, std::span<const int32_t> forced,
              void* scratch, int32_t* out);

// With the candidates in order and c(n) the sum of the first n:
enum class Cross : uint8_t {
  kExclude,  // the most n with c(n) <= budget                        SpargeAttn, FlexPrefill (map)
  kInclude,  // one more                                              FlexPrefill, SampleAttention
  kBefore,   // every candidate whose predecessors sum to < budget    XAttention
};

enum class Base : uint8_t {
  kRow,       // budget = p * sum of all scores
  kFlat,      // budget = p * rows: the scores are a map of `rows` rows that sum to 1 each
  kAbsolute,  // budget = p
};

struct TopP {
  float p = 1.0f;
  Cross cross = Cross::kInclude;
  Base base = Base::kRow;
  int32_t rows = 1;
  int32_t min_keep = 0;       // of the candidates in order, forced ones not counted apart
  bool forced_first = false;  // forced ones open the order and the sum; else they join the result
};

// Scores are masses: what is not above 0 counts as 0, +inf is kept before all else and counts as 0.
// Sums run in fp64 and are rounded to fp32 where they meet the budget, as PyTorch's cumsum of fp32
// does on a CPU: the order of summation does not matter. p > 1 keeps every candidate.
int32_t top_p(std::span<const float> scores, const TopP& rule, std::span<const int32_t> forced,
              void* scratch, int32_t* out);

// score >= theta.
int32_t threshold(std::span<const float> scores, float theta, std::span<const int32_t> forced,
                  int32_t* out);

}  // namespace heed::select
