#include "select/keys.h"

#include <algorithm>
#include <numbers>

#include "attention/visible.h"

namespace heed::select {

int32_t longest_list(const Keys& keys) {
  int32_t longest = 0;
  for (int g = 0; g < keys.heads.n_kv; ++g) longest = std::max(longest, keys.lists[g].len);
  return longest;
}

QueryBlocks query_blocks(int64_t pos0, int32_t rows, int32_t block) {
  if (rows <= 0) return {pos0 / block, 0};
  return {pos0 / block, static_cast<int32_t>((pos0 + rows - 1) / block - pos0 / block + 1)};
}

double query_factor(const Keys& keys, double divisor) {
  const double scale = keys.scale / divisor;
  return keys.softcap > 0 ? scale / keys.softcap : scale * std::numbers::log2e;
}

kernels::ScoreExtras score_extras(const Keys& keys) {
  kernels::ScoreExtras extras;
  if (keys.softcap > 0) extras.cap = static_cast<float>(keys.softcap * std::numbers::log2e);
  return extras;
}

Seen mask_columns(const int32_t* first, const int32_t* end, int rows, int64_t column, uint64_t live,
                  uint64_t* mask) {
  uint64_t any = 0, all = ~uint64_t{0};
  for (int i = 0; i < rows; ++i) {
    mask[i] = bit_range(first[i] - column, end[i] - column) & live;
    any |= mask[i];
    all &= mask[i];
  }
  if (any == 0) return Seen::kNothing;
  return all == ~uint64_t{0} ? Seen::kAll : Seen::kPart;
}

void page_bias(const ListView& list, int64_t slot0, float* bias) {
  const int64_t n = std::min<int64_t>(kPageTokens, list.len - slot0);
  for (int64_t i = 0; i < n; ++i) {
    bias[i] = static_cast<float>(list.bias[slot0 + i] * std::numbers::log2e);
  }
  std::fill(bias + n, bias + kPageTokens, 0.0f);
}

}  // namespace heed::select
