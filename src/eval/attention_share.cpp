#include "eval/attention_share.h"

#include <algorithm>
#include <vector>

#include "eval/statistics.h"

namespace heed::eval {
namespace {

constexpr int64_t kProfileTokens = 4096;
constexpr int kDecodeTokens = 4;  // profiled behind each ubatch

}  // namespace

Line fit_line(std::span<const Point> points) {
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  const auto n = static_cast<double>(points.size());
  for (const Point& p : points) mean_x += p.x / n, mean_y += p.y / n;
  for (const Point& p : points) {
    xx += (p.x - mean_x) * (p.x - mean_x);
    xy += (p.x - mean_x) * (p.y - mean_y);
  }
  const double slope = xx > 0 ? xy / xx : 0;
  return {mean_y - slope * mean_x, slope};
}

double LlamaShare::attention_s(const BenchTest& test) const {
  double seconds = 0;
  if (test.generate) {
    for (int64_t i = 0; i < test.n; ++i) {
      seconds += std::max(0.0, decode_attention.at(static_cast<double>(test.depth + i)));
    }
    return seconds;
  }
  for (int64_t at = 0; at < test.n; at += ubatch) {
    const double part = static_cast<double>(std::min<int64_t>(ubatch, test.n - at)) / ubatch;
    seconds += part * std::max(0.0, prefill_attention.at(static_cast<double>(test.depth + at)));
  }
  return seconds;
}

double LlamaShare::other_s(const BenchTest& test) const {
  const auto n = static_cast<double>(test.n);
  return test.generate ? n * decode_other : n / ubatch * prefill_other;
}

double LlamaShare::share(const BenchTest& test) const {
  const double attention = attention_s(test);
  return attention / (attention + other_s(test));
}

double LlamaShare::predicted_ratio(const BenchTest& test, double heed_attention_s) const {
  const double other = other_s(test);
  return (attention_s(test) + other) / (heed_attention_s + other);
}

Result<LlamaShare> profile_llama(std::shared_ptr<LlamaModel> model, LlamaOptions options,
                                 std::span<const Token> tokens) {
  const auto n = std::min<int64_t>(kProfileTokens, static_cast<int64_t>(tokens.size()));
  options.context = n + kDecodeTokens;
  options.ubatch = static_cast<int>(std::min<int64_t>(options.ubatch, n));
  options.profile = true;
  HEED_ASSIGN(auto llama, LlamaBaseline::create(std::move(model), options));
  LlamaShare share;
  share.ubatch = options.ubatch;
  std::vector<Point> prefill, decode;
  std::vector<double> prefill_other, decode_other;
  // The first ubatch also warms llama.cpp up, so it runs twice.
  HEED_TRY(llama->prefill(tokens.subspan(0, static_cast<size_t>(options.ubatch))));
  llama->clear();
  for (int64_t at = 0; at + options.ubatch <= n; at += options.ubatch) {
    llama->take_profile();
    HEED_TRY(llama->prefill(
        tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(options.ubatch))));
    LlamaProfile node = llama->take_profile();
    prefill.push_back({static_cast<double>(at), node.attention_s});
    prefill_other.push_back(node.total_s - node.attention_s);

    const int64_t depth = llama->length();
    HEED_TRY(llama->decode(tokens[0]));  // its graph differs from the prompt's: once to warm
    llama->take_profile();
    for (int i = 1; i < kDecodeTokens; ++i) HEED_TRY(llama->decode(tokens[0]));
    node = llama->take_profile();
    constexpr double kCounted = kDecodeTokens - 1;
    decode.push_back({static_cast<double>(depth), node.attention_s / kCounted});
    decode_other.push_back((node.total_s - node.attention_s) / kCounted);
    HEED_TRY(llama->truncate(depth));
  }
  share.prefill_attention = fit_line(prefill);
  share.decode_attention = fit_line(decode);
  share.prefill_other = median(prefill_other);
  share.decode_other = median(decode_other);
  return share;
}

}  // namespace heed::eval
