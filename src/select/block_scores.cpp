#include "select/block_scores.h"

#include <algorithm>
#include <limits>
#include <numbers>

#include "attention/visible.h"
#include "select/slab.h"

namespace heed::select {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

struct Thread {
  float* q;  // [kProbeTile][2 dk]
  float* s;  // [kProbeTile][64]

  Thread(Slab& slab, int dk)
      : q(slab.take<float>(int64_t{kProbeTile} * 2 * dk)),
        s(slab.take<float>(kProbeTile * kPanelBlocks)) {}
};

}  // namespace

size_t BlockScores::thread_bytes(int dk) {
  Slab slab;
  Thread(slab, dk);
  return slab.bytes();
}

void BlockScores::run(void* thread) const {
  const int dk = summaries->dk(), dims = kind == BlockScore::kMean ? dk : 2 * dk;
  const float* panels =
      kind == BlockScore::kMean ? summaries->means(kv_head) : summaries->bounds(kv_head);
  const int32_t blocks = summaries->blocks(kv_head);
  Slab slab(thread);
  const Thread t(slab, dk);
  kernels::PageCall call;
  call.k_format = static_cast<int>(Format::kF32);
  call.dk = dims;
  call.q = t.q;
  call.p = t.s;
  for (int row = 0; row < rows; row += kProbeTile) {
    call.rows = std::min(kProbeTile, rows - row);
    for (int r = 0; r < call.rows; ++r) {
      const float* from = q + (row + r) * q_stride;
      float* to = t.q + int64_t{r} * dims;
      for (int d = 0; d < dk; ++d) {
        const float x = from[d] * scale;
        to[d] = kind == BlockScore::kMean ? x : std::max(x, 0.0f);
        if (kind == BlockScore::kBound) to[dk + d] = std::min(x, 0.0f);
      }
    }
    for (int32_t first = 0; first < blocks; first += kPanelBlocks) {
      call.k = panels + int64_t{first} * dims;
      kernels::table(isa).score_page(call);
      const int32_t n = std::min(kPanelBlocks, blocks - first);
      for (int r = 0; r < call.rows; ++r) {
        float* to = out + (row + r) * out_stride + first;
        const int32_t seen = visible != nullptr ? visible[row + r] : blocks;
        for (int32_t j = 0; j < n; ++j) {
          const bool may = first + j < seen && (allowed == nullptr || allowed[first + j] != 0);
          to[j] = may ? t.s[r * kPanelBlocks + j] : kMinusInf;
        }
      }
    }
  }
}

int32_t visible_blocks(const ListView& list, int64_t position, int block) {
  return (slots_up_to(list, position) + block - 1) / block;
}

void softmax_row(Isa isa, float* x, int32_t n) {
  float top = kMinusInf;
  for (int32_t i = 0; i < n; ++i) top = std::max(top, x[i]);
  if (top == kMinusInf) {
    std::fill_n(x, n, 0.0f);
    return;
  }
  for (int32_t i = 0; i < n; ++i) {
    x[i] = (x[i] - top) * static_cast<float>(std::numbers::log2e);
  }
  kernels::table(isa).exp2_precise(x, x, n);
  double sum = 0;
  for (int32_t i = 0; i < n; ++i) sum += x[i];
  const auto part = static_cast<float>(1 / sum);
  for (int32_t i = 0; i < n; ++i) x[i] *= part;
}

}  // namespace heed::select
