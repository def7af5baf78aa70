#include "linear/routing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "linear/group_product.h"

namespace heed {
namespace {

bool larger(float a, float b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

// The indices of the largest, best first.
void choose_largest(std::span<const float> values, std::span<int32_t> chosen) {
  const size_t used = chosen.size();
  size_t found = 0;
  for (size_t e = 0; e < values.size(); ++e) {
    size_t at = found;
    while (at > 0 && larger(values[e], values[static_cast<size_t>(chosen[at - 1])])) --at;
    if (at == used) continue;
    found = std::min(found + 1, used);
    std::copy_backward(chosen.begin() + static_cast<std::ptrdiff_t>(at),
                       chosen.begin() + static_cast<std::ptrdiff_t>(found) - 1,
                       chosen.begin() + static_cast<std::ptrdiff_t>(found));
    chosen[at] = static_cast<int32_t>(e);
  }
}

void softmax_of_chosen(std::span<const float> logits, std::span<const int32_t> chosen,
                       std::span<float> shares) {
  float top = logits[static_cast<size_t>(chosen[0])];  // the largest but for a bias of the choice
  for (const int32_t e : chosen) {
    const float logit = logits[static_cast<size_t>(e)];
    if (larger(logit, top)) top = logit;
  }
  float sum = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    shares[i] = std::exp(logits[static_cast<size_t>(chosen[i])] - top);
    sum += shares[i];
  }
  for (float& share : shares) share /= sum;
}

void to_softmax(std::span<const float> logits, std::span<float> scores) {
  float top = logits[0];
  for (const float x : logits) top = larger(x, top) ? x : top;
  float sum = 0;
  for (size_t e = 0; e < logits.size(); ++e) sum += scores[e] = std::exp(logits[e] - top);
  for (float& score : scores) score /= sum;
}

void to_sigmoid(std::span<const float> logits, std::span<float> scores) {
  for (size_t e = 0; e < logits.size(); ++e) scores[e] = 1 / (1 + std::exp(-logits[e]));
}

// What experts of other groups than the best count as: less than any score with its bias.
void leave_best_groups(const RouterRule& rule, std::span<float> keys) {
  const size_t size = keys.size() / static_cast<size_t>(rule.groups);
  std::array<float, kMostExperts> memory;
  std::array<int32_t, kMostExperts> best;
  const std::span<float> of_groups(memory.data(), static_cast<size_t>(rule.groups));
  for (size_t g = 0; g < of_groups.size(); ++g) {
    const std::span<const float> group = keys.subspan(g * size, size);
    std::array<int32_t, 2> two;
    choose_largest(group, two);
    of_groups[g] = group[static_cast<size_t>(two[0])] + group[static_cast<size_t>(two[1])];
  }
  const std::span<int32_t> used(best.data(), static_cast<size_t>(rule.groups_used));
  choose_largest(of_groups, used);
  for (size_t g = 0; g < of_groups.size(); ++g) {
    if (std::ranges::find(used, static_cast<int32_t>(g)) != used.end()) continue;
    std::ranges::fill(keys.subspan(g * size, size), -std::numeric_limits<float>::infinity());
  }
}

void choose_by_scores(const RouterRule& rule, std::span<const float> scores, const float* bias,
                      std::span<int32_t> chosen) {
  if (bias == nullptr && rule.groups == 1) return choose_largest(scores, chosen);
  std::array<float, kMostExperts> memory;
  const std::span<float> keys(memory.data(), scores.size());
  for (size_t e = 0; e < keys.size(); ++e) keys[e] = scores[e] + (bias == nullptr ? 0 : bias[e]);
  if (rule.groups > 1) leave_best_groups(rule, keys);
  choose_largest(keys, chosen);
}

void take_shares(std::span<const float> scores, bool normalised, std::span<const int32_t> chosen,
                 std::span<float> shares) {
  float sum = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    sum += shares[i] = scores[static_cast<size_t>(chosen[i])];
  }
  if (!normalised) return;
  // llama.cpp's bound, where no chosen expert has a score to speak of; a NaN stays one.
  constexpr float kLeastSum = 1.0f / (1 << 14);
  if (sum < kLeastSum) sum = kLeastSum;
  for (float& share : shares) share /= sum;
}

}  // namespace

void choose_experts(const RouterRule& rule, std::span<const float> logits, const float* bias,
                    std::span<int32_t> chosen, std::span<float> shares) {
  // Softmax keeps the order, and normalised over the chosen it is softmax over those.
  const bool softmax = rule.score == RouterScore::kSoftmax;
  const bool same = softmax && rule.normalised && rule.groups == 1 && bias == nullptr;
  if (same || rule.score == RouterScore::kLogits) {
    choose_by_scores(rule, logits, bias, chosen);
    softmax_of_chosen(logits, chosen, shares);
  } else {
    std::array<float, kMostExperts> memory;
    const std::span<float> scores(memory.data(), logits.size());
    softmax ? to_softmax(logits, scores) : to_sigmoid(logits, scores);
    choose_by_scores(rule, scores, bias, chosen);
    take_shares(scores, rule.normalised, chosen, shares);
  }
  if (rule.scale == 1) return;
  for (float& share : shares) share *= rule.scale;
}

int64_t ExpertLists::most_tiles(const Size& size) {
  const int64_t lists = std::min<int64_t>(size.experts, size.slots);
  return (size.slots + lists * (kTileRows - 1)) / kTileRows;
}

// A counting sort. `first_` holds, by expert, first how many slots it has, then where its next slot
// goes; at the end the lists that are not empty move together.
void ExpertLists::make(const int32_t* chosen) {
  std::fill_n(first_, size_.experts + 1, 0);
  for (int64_t s = 0; s < size_.slots; ++s) ++first_[chosen[s] + 1];
  for (int e = 0; e < size_.experts; ++e) first_[e + 1] += first_[e];
  for (int64_t s = 0; s < size_.slots; ++s) {
    slot_[first_[chosen[s]]++] = static_cast<int32_t>(s);
  }
  // Now first_[e] is where the list of e ends.
  int lists = 0;
  int32_t begin = 0, tile = 0;
  for (int e = 0; e < size_.experts; ++e) {
    const int32_t end = first_[e];
    if (end == begin) continue;
    expert_[lists] = e;
    first_[lists] = begin;
    tile_[lists] = tile;
    tile += static_cast<int32_t>(row_tiles(end - begin));
    begin = end;
    ++lists;
  }
  first_[lists] = begin;
  *count_ = lists;
}

}  // namespace heed
