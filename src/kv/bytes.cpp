// Byte counts of the store and of one sequence.
#include <bit>
#include <unordered_map>

#include "kv/store_impl.h"

namespace heed {
namespace {

// Committed slots of page p of the list that its live mask leaves readable.
uint64_t live_mask(const kv::List& list, size_t p) {
  const int64_t slots = list.len - static_cast<int64_t>(p) * kPageTokens;
  if (slots <= 0) return 0;
  const uint64_t filled = slots >= kPageTokens ? ~uint64_t{0} : (uint64_t{1} << slots) - 1;
  return list.side.has(SideArray::kLive) ? filled & list.side.live[p] : filled;
}

}  // namespace

uint64_t Store::Impl::live_bytes() const {
  uint64_t bytes = 0;
  if (lists_with_live == 0) {
    for (int c = 0; c < pool.classes(); ++c) {
      bytes += pool.committed_slots(c) * pool.entry_bytes(c);
    }
    return bytes;
  }
  // A slot of a shared page is live while any of its holders can read it.
  std::unordered_map<PageId, uint64_t> readable;
  for (const auto& [id, s] : sequences) {
    for (const kv::List& list : s->lists) {
      for (size_t p = 0; p < list.pages.size(); ++p) readable[list.pages[p]] |= live_mask(list, p);
      if (list.replaced != kNoPage) {
        readable[list.replaced] |= live_mask(list, list.len / kPageTokens);
      }
    }
  }
  for (const auto& [page, mask] : readable) {
    bytes += std::popcount(mask) * pool.entry_bytes(kv::page_class(page));
  }
  return bytes;
}

StoreBytes Store::bytes() const {
  StoreBytes out;
  out.live = impl_->live_bytes();
  out.committed = impl_->committed;
  out.arenas = impl_->pool.arena_bytes();
  for (int c = 0; c < impl_->pool.classes(); ++c) out.pages += impl_->pool.pages_in_use(c);
  return out;
}

StoreBytes Store::bytes(SeqId seq) const {
  StoreBytes out;
  const kv::Sequence* s = impl_->find(seq);
  if (!s) return out;
  out.committed = sizeof(kv::Sequence);
  for (size_t i = 0; i < s->lists.size(); ++i) {
    const kv::List& list = s->lists[i];
    const int size_class = impl_->layers[impl_->layer_of(i)].size_class;
    const uint64_t held = list.pages.size() + (list.replaced != kNoPage);
    out.committed += list.overhead() + held * impl_->page_cost(size_class);
    out.pages += held;
    for (size_t p = 0; p < list.pages.size(); ++p) {
      out.live += std::popcount(live_mask(list, p)) * impl_->pool.entry_bytes(size_class);
    }
  }
  return out;
}

}  // namespace heed
