#include "kv/snapshot.h"

#include <algorithm>
#include <array>
#include <new>
#include <numeric>

#include "base/guard.h"
#include "kv/store_impl.h"

namespace heed::kv {
namespace {

constexpr uint8_t kAllSides = (1u << std::size(kSideArrays)) - 1;

// Of one element; a live mask is one per page, the others one per slot.
size_t element_bytes(SideArray kind) {
  switch (kind) {
    case SideArray::kPosition: return sizeof(int32_t);
    case SideArray::kLive: return sizeof(uint64_t);
    case SideArray::kBias:
    case SideArray::kColumnMass: return sizeof(float);
    case SideArray::kTokenClass: return sizeof(uint8_t);
  }
  return 0;
}

Status check_outline(const Store& store, const SequenceOutline& outline) {
  if (outline.lists.size() != lists_of(store)) {
    return error(Code::kCorrupt, "a sequence of ", outline.lists.size(), " lists for a store of ",
                 lists_of(store));
  }
  if (outline.first_position < 0 || outline.length < 0 ||
      outline.first_position > kMaxPosition - outline.length) {
    return error(Code::kCorrupt, outline.length, " tokens from position ", outline.first_position,
                 " on pass the last position ", kMaxPosition);
  }
  for (size_t i = 0; i < outline.lists.size(); ++i) {
    const ListOutline& list = outline.lists[i];
    const bool all = list.has(SideArray::kPosition) || list.slots == outline.length;
    if (list.slots < 0 || list.slots > outline.length || !all || (list.side & ~kAllSides) != 0) {
      return error(Code::kCorrupt, "list ", i, " has ", list.slots, " slots of ", outline.length,
                   " tokens and side arrays ", int{list.side});
    }
  }
  return {};
}

}  // namespace

bool SequenceOutline::contiguous() const {
  return std::all_of(lists.begin(), lists.end(), [&](const ListOutline& list) {
    return !list.has(SideArray::kPosition) && list.slots == length;
  });
}

void SequenceOutline::cut(int64_t n) {
  length = n;
  for (ListOutline& list : lists) list.slots = static_cast<int32_t>(n);
}

size_t lists_of(const Store& store) { return store.impl().layer_of_list.size(); }

size_t page_bytes(const Store& store, size_t list) {
  const Store::Impl& impl = store.impl();
  return impl.pool.page_bytes(impl.layers[impl.layer_of(list)].size_class);
}

size_t side_bytes(SideArray kind, int64_t pages) {
  const int64_t elements = kind == SideArray::kLive ? pages : pages * kPageTokens;
  return element_bytes(kind) * static_cast<size_t>(elements);
}

Result<SequenceReader> SequenceReader::open(const Store& store, SeqId seq) {
  HEED_ASSIGN(Sequence * s, store.impl().find_closed(seq, "reading"));
  return SequenceReader(store, *s);
}

SequenceOutline SequenceReader::outline() const {
  SequenceOutline out;
  out.first_position = sequence_->first_position;
  out.length = sequence_->length;
  for (const List& list : sequence_->lists) out.lists.push_back({list.len, list.side.present});
  return out;
}

std::span<const uint8_t> SequenceReader::page(size_t list, size_t page) const {
  return {store_->impl().pool.k_data(sequence_->lists[list].pages[page]),
          page_bytes(*store_, list)};
}

std::span<const uint8_t> SequenceReader::side(size_t list, SideArray kind) const {
  List& from = sequence_->lists[list];
  return {static_cast<const uint8_t*>(from.side.data(kind)),
          side_bytes(kind, static_cast<int64_t>(from.pages.size()))};
}

SequenceBuilder::SequenceBuilder(Store& store)
    : store_(store), sequence_(std::make_unique<Sequence>()) {}

Result<std::unique_ptr<SequenceBuilder>> SequenceBuilder::begin(Store& store,
                                                                const SequenceOutline& outline) {
  try {
    HEED_TRY(check_outline(store, outline));
    std::unique_ptr<SequenceBuilder> out(new SequenceBuilder(store));
    Sequence& s = *out->sequence_;
    s.first_position = outline.first_position;
    s.length = outline.length;
    s.lists.resize(outline.lists.size());
    s.views.resize(outline.lists.size());
    for (size_t i = 0; i < s.lists.size(); ++i) {
      List& list = s.lists[i];
      const size_t pages = pages_for(outline.lists[i].slots);
      list.len = outline.lists[i].slots;
      list.pages.reserve(pages);
      list.side.present = outline.lists[i].side;
      list.side.reserve(pages);
      list.side.resize(pages);
    }
    HEED_TRY(out->take_pages());
    return out;
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for the lists of a sequence");
  }
}

Status SequenceBuilder::take_pages() {
  Store::Impl& impl = store_.impl();
  std::array<uint64_t, kMaxClasses> pages{};
  uint64_t cost = 0;
  for (size_t i = 0; i < sequence_->lists.size(); ++i) {
    const int size_class = impl.layers[impl.layer_of(i)].size_class;
    const uint64_t n = pages_for(sequence_->lists[i].len);
    pages[size_class] += n;
    cost += n * impl.page_cost(size_class);
  }
  HEED_TRY(impl.check_limit(cost, impl.next_id, "restoring"));
  taken_.reserve(std::accumulate(pages.begin(), pages.end(), uint64_t{0}));
  HEED_TRY(impl.reserve_pages(pages.data(), impl.next_id, "restoring"));
  for (size_t i = 0; i < sequence_->lists.size(); ++i) {
    List& list = sequence_->lists[i];
    const int size_class = impl.layers[impl.layer_of(i)].size_class;
    for (size_t n = pages_for(list.len); n > 0; --n) {
      taken_.push_back(impl.take(size_class));
      list.pages.push_back(taken_.back());
    }
  }
  return {};
}

SequenceBuilder::~SequenceBuilder() {
  for (const PageId page : taken_) store_.impl().release(page);
}

std::span<uint8_t> SequenceBuilder::page(size_t list, size_t page) {
  return {store_.impl().pool.k_data(sequence_->lists[list].pages[page]), page_bytes(store_, list)};
}

std::span<uint8_t> SequenceBuilder::side(size_t list, SideArray kind) {
  List& to = sequence_->lists[list];
  return {static_cast<uint8_t*>(to.side.data(kind)),
          side_bytes(kind, static_cast<int64_t>(to.pages.size()))};
}

Status SequenceBuilder::check_positions() const {
  const int64_t first = sequence_->first_position, end = first + sequence_->length;
  for (size_t i = 0; i < sequence_->lists.size(); ++i) {
    const List& list = sequence_->lists[i];
    if (!list.side.has(SideArray::kPosition)) continue;
    int64_t above = first - 1;
    for (int32_t slot = 0; slot < list.len; ++slot) {
      const int64_t at = list.side.position[static_cast<size_t>(slot)];
      if (at <= above || at >= end) {
        return error(Code::kCorrupt, "list ", i, ": position ", at, " of slot ", slot,
                     " is not above ", above, " and below ", end);
      }
      above = at;
    }
  }
  return {};
}

Result<SeqId> SequenceBuilder::finish() {
  Store::Impl& impl = store_.impl();
  HEED_TRY(check_positions());
  for (size_t i = 0; i < sequence_->lists.size(); ++i) {
    List& list = sequence_->lists[i];
    list.side.clear(list.len, list.pages.size() * kPageTokens);
    impl.set_committed_fill(list, 0, list.len);
    const int filled = list.len % kPageTokens;
    if (filled != 0) impl.zero_slots(impl.layers[impl.layer_of(i)], list.pages.back(), filled);
    impl.refresh_view(*sequence_, i, list.len);
  }
  try {
    return impl.add_sequence(std::move(sequence_), "restoring");
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for another sequence");
  }
}

}  // namespace heed::kv
