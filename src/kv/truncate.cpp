// truncate: tokens leave a sequence from the end.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "kv/store_impl.h"

namespace heed {
namespace {

// Slots of a list whose position is below `position`.
int32_t slots_below(const kv::Sequence& s, const kv::List& list, int64_t position) {
  if (!list.side.has(SideArray::kPosition)) {
    return static_cast<int32_t>(std::clamp<int64_t>(position - s.first_position, 0, list.len));
  }
  const auto begin = list.side.position.begin();
  return static_cast<int32_t>(std::lower_bound(begin, begin + list.len, position) - begin);
}

// A cut at `slots` goes through the middle of a page that others hold too.
bool cuts_shared(const kv::PagePool& pool, const kv::List& list, int32_t slots) {
  return slots < list.len && slots % kPageTokens != 0 &&
         pool.refs(list.pages[slots / kPageTokens]) > 1;
}

}  // namespace

void Store::Impl::cut(kv::List& list, int32_t slots) {
  const size_t keep = pages_for(slots);
  while (list.pages.size() > keep) {
    release(list.pages.back());
    list.pages.pop_back();
  }
  list.side.resize(keep);
  list.side.clear(slots, keep * kPageTokens);
}

void Store::Impl::zero_slots(const kv::LayerInfo& layer, PageId page, int first) {
  static constexpr float kZeros[kMaxHeadSize] = {};  // one row, read with stride 0
  const int n = kPageTokens - first;
  layer.k_ops->pack_k(pool.k_data(page), first, n, kZeros, 0, layer.shape.dk);
  if (!layer.shape.v_aliases_k) {
    layer.v_ops->pack_v(pool.v_data(page), first, n, kZeros, 0, layer.shape.dv);
  }
}

Status Store::truncate(SeqId seq, int64_t position) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_closed(seq, "truncate"));
  if (position < s->first_position) {
    return error(Code::kOutOfRange, "truncate: position ", position,
                 " is before the first position ", s->first_position, " of sequence ", seq);
  }
  if (position >= s->first_position + s->length) return {};
  std::array<uint64_t, kv::kMaxClasses> copies{};
  uint64_t gained = 0, freed = 0;
  for (size_t i = 0; i < s->lists.size(); ++i) {
    const kv::List& list = s->lists[i];
    const int32_t slots = slots_below(*s, list, position);
    const int size_class = impl_->layers[impl_->layer_of(i)].size_class;
    if (cuts_shared(impl_->pool, list, slots)) {
      ++copies[size_class];
      gained += impl_->page_cost(size_class);
    }
    for (size_t p = pages_for(slots); p < list.pages.size(); ++p) {
      if (impl_->pool.refs(list.pages[p]) == 1) freed += impl_->page_cost(size_class);
    }
  }
  if (gained > freed) HEED_TRY(impl_->check_limit(gained - freed, seq, "truncate"));
  HEED_TRY(impl_->reserve_pages(copies.data(), seq, "truncate"));
  // All copies first: pages that a cut lets go of may empty an arena, and the pool then returns
  // empty arenas, reserved ones too.
  for (kv::List& list : s->lists) {
    const int32_t slots = slots_below(*s, list, position);
    if (cuts_shared(impl_->pool, list, slots)) impl_->own_page(list, slots / kPageTokens);
  }
  for (size_t i = 0; i < s->lists.size(); ++i) {
    const int32_t slots = slots_below(*s, s->lists[i], position);
    if (slots < s->lists[i].len) impl_->shorten(*s, i, slots);
  }
  s->length = position - s->first_position;
  return {};
}

void Store::Impl::own_page(kv::List& list, int32_t page) {
  const PageId shared = list.pages[page];
  list.pages[page] = take_copy(shared);
  release(shared);
}

void Store::Impl::shorten(kv::Sequence& s, size_t i, int32_t slots) {
  kv::List& list = s.lists[i];
  cut(list, slots);
  list.len = slots;
  if (slots % kPageTokens != 0) {
    pool.set_fill(list.pages.back(), slots % kPageTokens);
    zero_slots(layers[layer_of(i)], list.pages.back(), slots % kPageTokens);
  }
  refresh_view(s, i, slots);
}

}  // namespace heed
