// What llama.cpp's time would be with heed's attention in place of its own: the speed-up that
// heed's attention alone explains (Amdahl), printed beside the measured one.
#pragma once

#include <memory>
#include <span>

#include "eval/bench_rounds.h"
#include "eval/llama_baseline.h"

namespace heed::eval {

// y = at_zero + slope * depth, least squares.
struct Line {
  double at_zero = 0, slope = 0;
  double at(double depth) const { return at_zero + slope * depth; }
};
struct Point {
  double x = 0, y = 0;
};
Line fit_line(std::span<const Point> points);

// Node times of llama.cpp by depth, from one profiled pass over at most 4,096 tokens. Attention
// cost grows linearly with depth, so longer tests are read off the line.
struct LlamaShare {
  int ubatch = 0;
  Line prefill_attention;    // seconds of one ubatch behind `depth` tokens
  double prefill_other = 0;  // seconds of one ubatch outside attention
  Line decode_attention;     // seconds of one token behind `depth` tokens
  double decode_other = 0;

  double attention_s(const BenchTest& test) const;
  double other_s(const BenchTest& test) const;
  // llama.cpp's share of time in attention.
  double share(const BenchTest& test) const;
  // Predicted ratio when heed spends `heed_attention_s` where llama.cpp spends attention_s(test).
  double predicted_ratio(const BenchTest& test, double heed_attention_s) const;
};

Result<LlamaShare> profile_llama(std::shared_ptr<LlamaModel> model, LlamaOptions options,
                                 std::span<const Token> tokens);

}  // namespace heed::eval
