#include "linear/routing.h"

#include <algorithm>
#include <cmath>

#include "linear/group_product.h"

namespace heed {
namespace {

bool larger(float a, float b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

}  // namespace

void choose_experts(std::span<const float> logits, std::span<int32_t> chosen,
                    std::span<float> shares) {
  const size_t used = chosen.size();
  size_t found = 0;
  for (size_t e = 0; e < logits.size(); ++e) {
    size_t at = found;
    while (at > 0 && larger(logits[e], logits[static_cast<size_t>(chosen[at - 1])])) --at;
    if (at == used) continue;
    found = std::min(found + 1, used);
    std::copy_backward(chosen.begin() + static_cast<std::ptrdiff_t>(at),
                       chosen.begin() + static_cast<std::ptrdiff_t>(found) - 1,
                       chosen.begin() + static_cast<std::ptrdiff_t>(found));
    chosen[at] = static_cast<int32_t>(e);
  }
  const float top = logits[static_cast<size_t>(chosen[0])];
  float sum = 0;
  for (size_t i = 0; i < used; ++i) {
    shares[i] = std::exp(logits[static_cast<size_t>(chosen[i])] - top);
    sum += shares[i];
  }
  for (float& share : shares) share /= sum;
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
