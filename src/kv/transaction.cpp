// begin_append, commit and abort: everything that can fail happens before the first change.
#include <algorithm>
#include <array>
#include <new>

#include "base/guard.h"
#include "kv/store_impl.h"

namespace heed {
namespace {

// New memory for the page table and side arrays of a list that must hold `pages` pages: half as
// much again, so a sequence that grows page by page copies each entry a constant number of times.
kv::ListGrowth grow(const kv::List& list, size_t pages) {
  kv::ListGrowth growth;
  growth.needed = true;
  growth.pages.reserve(std::max(pages, list.pages.capacity() + list.pages.capacity() / 2));
  growth.pages.assign(list.pages.begin(), list.pages.end());
  growth.side.present = list.side.present;
  growth.side.reserve(growth.pages.capacity());
  growth.side.position.assign(list.side.position.begin(), list.side.position.end());
  growth.side.live.assign(list.side.live.begin(), list.side.live.end());
  growth.side.bias.assign(list.side.bias.begin(), list.side.bias.end());
  growth.side.mass.assign(list.side.mass.begin(), list.side.mass.end());
  growth.side.token_class.assign(list.side.token_class.begin(), list.side.token_class.end());
  return growth;
}

}  // namespace

// What an append of n tokens to some lists of a sequence takes.
struct AppendNeeds {
  std::array<uint64_t, kv::kMaxClasses> pages{};  // by size class
  std::vector<kv::ListGrowth> growth;             // [lists], or empty when none grows
  uint64_t bytes = 0;                             // committed bytes it adds

  Status collect(const Store::Impl& store, const kv::Sequence& s, size_t first, size_t end, int n,
                 SeqId seq);
};

namespace {

// The last page must be copied before rows are added to it.
bool copies_last(const kv::PagePool& pool, const kv::List& list) {
  return list.len % kPageTokens != 0 && pool.refs(list.pages.back()) > 1;
}

}  // namespace

Status AppendNeeds::collect(const Store::Impl& store, const kv::Sequence& s, size_t first,
                            size_t end, int n, SeqId seq) {
  for (size_t i = first; i < end; ++i) {
    const kv::List& list = s.lists[i];
    const int64_t len = int64_t{list.len} + list.pending + n;
    if (len > kv::kMaxSlots) {
      return error(Code::kOutOfRange, "sequence ", seq, ": ", list.len + list.pending, " + ", n,
                   " tokens exceed the ", kv::kMaxSlots, " slots of a list");
    }
    const size_t total = pages_for(len);
    const uint64_t added = total - list.pages.size() + copies_last(store.pool, list);
    const int size_class = store.layers[store.layer_of(i)].size_class;
    pages[size_class] += added;
    bytes += added * store.page_cost(size_class);
    if (total > list.pages.capacity()) {
      if (growth.empty()) growth.resize(s.lists.size());
      growth[i] = grow(list, total);
      bytes += growth[i].pages.capacity() * sizeof(PageId) + growth[i].side.bytes();
      bytes -= list.pages.capacity() * sizeof(PageId) + list.side.bytes();
    }
  }
  return {};
}

Status Store::Impl::reserve_pages(const uint64_t* pages, SeqId seq, const char* what) {
  for (int c = 0; c < pool.classes(); ++c) {
    if (pool.reserve(c, pages[c])) continue;
    for (int undo = 0; undo < pool.classes(); ++undo) pool.trim(undo);
    return error(Code::kResourceExhausted, what, " of sequence ", seq, ": no memory for ", pages[c],
                 " more pages of ", pool.page_bytes(c), " bytes (", pool.arena_bytes(),
                 " bytes of pages are mapped); drop a sequence or shorten the prompt");
  }
  return {};
}

void Store::Impl::extend(kv::Sequence& s, size_t i, kv::ListGrowth* growth, int n) {
  kv::List& list = s.lists[i];
  if (growth && growth->needed) {
    committed -= list.overhead();
    list.pages.swap(growth->pages);
    list.side = std::move(growth->side);
    committed += list.overhead();
  }
  if (copies_last(pool, list)) {
    list.replaced = list.pages.back();
    list.pages.back() = take_copy(list.replaced);
    pool.set_fill(list.pages.back(), list.len % kPageTokens);
  }
  const int size_class = layers[layer_of(i)].size_class;
  const int32_t held = list.len + list.pending;
  const size_t total = pages_for(int64_t{held} + n);
  while (list.pages.size() < total) list.pages.push_back(take(size_class));
  list.side.resize(total);
  if (list.side.has(SideArray::kPosition)) {
    for (int t = 0; t < n; ++t) {
      list.side.position[size_t(held) + t] =
          static_cast<int32_t>(s.first_position + s.length + list.pending + t);
    }
  }
  list.pending += n;
  list.piece = n;
  refresh_view(s, i, list.len + list.pending);
}

Status Store::Impl::extend(kv::Sequence& s, SeqId seq, size_t first, size_t end, int n) {
  try {
    AppendNeeds needs;
    HEED_TRY(needs.collect(*this, s, first, end, n, seq));
    HEED_TRY(check_limit(needs.bytes, seq, "append"));
    HEED_TRY(reserve_pages(needs.pages.data(), seq, "append"));
    for (size_t i = first; i < end; ++i) {
      extend(s, i, needs.growth.empty() ? nullptr : &needs.growth[i], n);
    }
  } catch (const std::bad_alloc&) {  // only before the first change
    return exhausted("append of sequence ", seq, ": no memory for longer page tables");
  }
  return {};
}

Status Store::Impl::check_positions(const kv::Sequence& s, SeqId seq, int64_t n) const {
  const int64_t next = s.first_position + s.length;
  if (n - 1 <= kv::kMaxPosition - next) return {};
  return error(Code::kOutOfRange, "sequence ", seq, ": position ", next, " + ", n,
               " tokens passes the last position ", kv::kMaxPosition);
}

Status Store::begin_append(SeqId seq, int n) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_closed(seq, "begin_append"));
  if (n < 1) {
    return error(Code::kInvalidArgument, "begin_append: ", n, " tokens, at least 1 is needed");
  }
  HEED_TRY(impl_->check_positions(*s, seq, n));
  HEED_TRY(impl_->extend(*s, seq, 0, s->lists.size(), n));
  s->pending = n;
  return {};
}

void Store::Impl::set_committed_fill(const kv::List& list, int32_t from, int32_t to) {
  for (int64_t p = from / kPageTokens; p < pages_for(to); ++p) {
    pool.set_fill(list.pages[p],
                  static_cast<uint32_t>(std::min<int64_t>(kPageTokens, to - p * kPageTokens)));
  }
}

void Store::commit(SeqId seq) {
  kv::Sequence* s = impl_->find(seq);
  if (!s || !s->open()) return;
  const auto whole = [s](const kv::List& list) { return list.pending == s->pending; };
  if (!std::ranges::all_of(s->lists, whole)) {  // a filling that is not done
    impl_->undo_append(*s);
    return;
  }
  for (kv::List& list : s->lists) {
    impl_->set_committed_fill(list, list.len, list.len + list.pending);
    list.len += list.pending;
    list.pending = list.piece = 0;
    if (list.replaced != kNoPage) impl_->release(list.replaced);
    list.replaced = kNoPage;
  }
  s->length += s->pending;
  s->pending = 0;
  s->filling = false;
}

void Store::abort(SeqId seq) {
  kv::Sequence* s = impl_->find(seq);
  if (s && s->open()) impl_->undo_append(*s);
}

void Store::Impl::undo_append(kv::Sequence& s) {
  for (size_t i = 0; i < s.lists.size(); ++i) {
    kv::List& list = s.lists[i];
    if (list.pending == 0) continue;  // of a filling that did not reach it
    list.pending = list.piece = 0;
    cut(list, list.len);
    if (list.replaced != kNoPage) {
      release(list.pages.back());
      list.pages.back() = list.replaced;
      list.replaced = kNoPage;
    } else if (list.len % kPageTokens != 0) {
      zero_slots(layers[layer_of(i)], list.pages.back(), list.len % kPageTokens);
    }
    refresh_view(s, i, list.len);
  }
  s.pending = 0;
  s.filling = false;
}

}  // namespace heed
