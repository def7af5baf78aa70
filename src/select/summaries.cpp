#include "select/summaries.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/guard.h"
#include "base/text.h"
#include "select/slab.h"

namespace heed::select {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Bits of the slots of a page that exist and are live.
uint64_t counted_slots(const ListView& list, int64_t page) {
  const int64_t n = std::min<int64_t>(kPageTokens, list.len - page * kPageTokens);
  const uint64_t exist = n >= kPageTokens ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  return exist & live_slots(list, static_cast<int32_t>(page));
}

int64_t live_count(const ListView& list, int64_t page, int64_t end) {
  int64_t n = 0;
  for (; page < end; ++page) n += std::popcount(counted_slots(list, page));
  return n;
}

// Pools the pages [page, end) into what `call` asks for.
void pool_pages(const Keys& keys, const ListView& list, int64_t page, int64_t end,
                kernels::PoolCall call) {
  call.k_format = static_cast<int>(keys.format);
  call.dk = keys.dk;
  for (; page < end; ++page) {
    call.k = keys.store->k_page(list.pages[page]);
    call.live = counted_slots(list, page);
    kernels::table(keys.isa).pool_page(call);
  }
}

// ||x / n||^2
float mean_square(const float* x, int n, double count) {
  double sum = 0;
  for (int d = 0; d < n; ++d) sum += double{x[d]} * x[d];
  return static_cast<float>(sum / (count * count));
}

}  // namespace

KeySummaries::KeySummaries(int kv_heads, int dk, int block, unsigned kinds)
    : dk_(dk), block_(block), kinds_(kinds), lists_(kv_heads), first_unit_(kv_heads + 1) {}

size_t KeySummaries::cut(uint8_t* memory, int64_t capacity, std::vector<List>& lists) const {
  Slab slab(memory);
  for (List& list : lists) {
    if (kinds_ & kMeans) list.means = slab.take<float>(capacity * dk_);
    if (kinds_ & kExtremes) list.bounds = slab.take<float>(capacity * 2 * dk_);
    if (kinds_ & kSelfSimilarity) list.similarity = slab.take<float>(capacity);
    list.pages = slab.take<PageId>(capacity * (block_ / kPageTokens));
  }
  return slab.bytes();
}

Status KeySummaries::reserve(int64_t slots) {
  return guarded("summaries of keys", [&] { return grow(slots); });
}

Status KeySummaries::grow(int64_t slots) {
  const int64_t panel = int64_t{kPanelBlocks} * block_;
  const int64_t capacity = (slots + panel - 1) / panel * kPanelBlocks;
  if (capacity <= capacity_) return Status::ok();
  std::vector<List> grown = lists_;
  const size_t bytes = cut(nullptr, capacity, grown);
  AlignedMemory memory = allocate_aligned(bytes);
  if (!memory) {
    return error(Code::kResourceExhausted, "summaries of keys: no memory for ", bytes,
                 " bytes; use a shorter context");
  }
  cut(memory.get(), capacity, grown);
  for (size_t g = 0; g < lists_.size() && capacity_ > 0; ++g) {
    const List& from = lists_[g];
    if (from.means) std::copy_n(from.means, capacity_ * dk_, grown[g].means);
    if (from.bounds) std::copy_n(from.bounds, capacity_ * 2 * dk_, grown[g].bounds);
    if (from.similarity) std::copy_n(from.similarity, capacity_, grown[g].similarity);
    std::copy_n(from.pages, int64_t{from.full} * (block_ / kPageTokens), grown[g].pages);
  }
  lists_ = std::move(grown);
  memory_ = std::move(memory);
  capacity_ = capacity;
  bytes_ = bytes;
  return Status::ok();
}

size_t KeySummaries::bytes() const { return bytes_; }

void KeySummaries::truncate(int64_t slots) {
  for (List& list : lists_) {
    list.full = static_cast<int32_t>(std::min<int64_t>(list.full, slots / block_));
  }
}

int32_t KeySummaries::blocks_of(const ListView& list) const {
  return static_cast<int32_t>(
      std::min<int64_t>((int64_t{list.len} + block_ - 1) / block_, capacity_));
}

void KeySummaries::begin(const Keys& keys) {
  const int per_block = block_ / kPageTokens;
  units_ = 0;
  for (size_t g = 0; g < lists_.size(); ++g) {
    List& list = lists_[g];
    const ListView& view = keys.lists[g];
    list.blocks = blocks_of(view);
    list.len = view.len;
    // What is masked out may change in a full block.
    int32_t same = view.live == nullptr ? std::min(list.full, view.len / block_) : 0;
    same = std::min(same, list.blocks);
    const auto* changed =
        std::mismatch(list.pages, list.pages + int64_t{same} * per_block, view.pages).first;
    list.full = static_cast<int32_t>((changed - list.pages) / per_block);
    first_unit_[g] = units_;
    units_ += list.blocks - list.full;
  }
  first_unit_.back() = units_;
  computed_ += units_;
}

void KeySummaries::run(const Keys& keys, int64_t unit) {
  const auto next = std::upper_bound(first_unit_.begin(), first_unit_.end(), unit);
  const auto g = static_cast<size_t>(next - first_unit_.begin() - 1);
  const ListView& view = keys.lists[g];
  const List& list = lists_[g];
  const int per_block = block_ / kPageTokens;
  const int64_t block = list.full + unit - first_unit_[g];
  const int64_t page0 = block * per_block;
  const int64_t page_end = std::min(page0 + per_block, pages_for(view.len));
  alignas(64) float sum[kMaxHeadSize] = {}, unit_sum[kMaxHeadSize] = {};
  alignas(64) float high[kMaxHeadSize], low[kMaxHeadSize];
  std::fill_n(high, dk_, -kInf);
  std::fill_n(low, dk_, kInf);
  kernels::PoolCall call;
  if (kinds_ & kMeans) call.sum = sum;
  if (kinds_ & kSelfSimilarity) call.unit = unit_sum;
  if (kinds_ & kExtremes) call.high = high, call.low = low;
  pool_pages(keys, view, page0, page_end, call);
  const int64_t count = live_count(view, page0, page_end);
  const float part = count > 0 ? 1.0f / static_cast<float>(count) : 0.0f;
  const int64_t panel = block / kPanelBlocks, column = block % kPanelBlocks;
  float* mean = list.means + (panel * dk_ * kPanelBlocks + column);
  float* bound = list.bounds + (panel * 2 * dk_ * kPanelBlocks + column);
  for (int64_t d = 0; d < dk_; ++d) {
    if (kinds_ & kMeans) mean[d * kPanelBlocks] = sum[d] * part;
    if (kinds_ & kExtremes) {
      bound[d * kPanelBlocks] = count > 0 ? high[d] : 0.0f;
      bound[(d + dk_) * kPanelBlocks] = count > 0 ? low[d] : 0.0f;
    }
  }
  if (kinds_ & kSelfSimilarity) {
    list.similarity[block] = mean_square(unit_sum, dk_, static_cast<double>(count));
  }
  std::copy(view.pages + page0, view.pages + page_end, list.pages + page0);
}

void KeySummaries::end() {
  for (List& list : lists_) list.full = std::min(list.blocks, list.len / block_);
}

int64_t QueryPooling::units() const {
  return q.shape[1] * query_blocks(pos0, static_cast<int32_t>(q.shape[0]), block).count;
}

void QueryPooling::run(int64_t unit) const {
  const auto rows = static_cast<int32_t>(q.shape[0]);
  const QueryBlocks blocks = query_blocks(pos0, rows, block);
  const int64_t h = unit / blocks.count, at = unit % blocks.count;
  const int64_t begin = std::max<int64_t>((blocks.first + at) * block - pos0, 0);
  const int64_t end = std::min<int64_t>((blocks.first + at + 1) * block - pos0, rows);
  const auto dk = static_cast<int>(q.shape[2]);
  alignas(64) float unit_sum[kMaxHeadSize] = {};
  float* to = mean + unit * dk;
  std::fill_n(to, dk, 0.0f);
  const auto count = static_cast<int>(end - begin);
  kernels::table(isa).pool_rows(&q(begin, h, 0), q.stride[0], count, dk, to,
                                similarity != nullptr ? unit_sum : nullptr);
  for (int d = 0; d < dk; ++d) to[d] *= 1.0f / static_cast<float>(count);
  if (similarity != nullptr) similarity[unit] = mean_square(unit_sum, dk, count);
}

float self_similarity(const Keys& keys, int kv_head, int64_t at, int block, const float* center) {
  const ListView& list = keys.lists[kv_head];
  const int64_t page = at * (block / kPageTokens);
  const int64_t end = std::min(page + block / kPageTokens, pages_for(list.len));
  alignas(64) float unit_sum[kMaxHeadSize] = {};
  kernels::PoolCall call;
  call.center = center;
  call.unit = unit_sum;
  pool_pages(keys, list, page, end, call);
  return mean_square(unit_sum, keys.dk, static_cast<double>(live_count(list, page, end)));
}

void mean_of_keys(const KeySummaries& summaries, const ListView& list, int kv_head, float* mean) {
  const int dk = summaries.dk();
  const int per_block = summaries.block() / kPageTokens;
  double count = 0;
  double sum[kMaxHeadSize] = {};
  for (int64_t b = 0; b < summaries.blocks(kv_head); ++b) {
    const int64_t page = b * per_block;
    const auto n = static_cast<double>(
        live_count(list, page, std::min(page + per_block, pages_for(list.len))));
    const float* panel = summaries.means(kv_head) + b / kPanelBlocks * kPanelBlocks * dk;
    for (int64_t d = 0; d < dk; ++d) sum[d] += n * panel[d * kPanelBlocks + b % kPanelBlocks];
    count += n;
  }
  for (int d = 0; d < dk; ++d) mean[d] = count > 0 ? static_cast<float>(sum[d] / count) : 0.0f;
}

}  // namespace heed::select
