#include "kv/pool.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/text.h"

namespace heed::kv {

PagePool::~PagePool() {
  for (Class& c : classes_) {
    for (uint32_t a = 0; a < c.arenas.size(); ++a) {
      if (c.arenas[a].memory) unmap_arena(c, a);
    }
  }
}

int PagePool::add_class(size_t k_bytes, size_t v_bytes, size_t entry_bytes) {
  const size_t page_bytes = (k_bytes + v_bytes + 63) / 64 * 64;
  const size_t v_offset = v_bytes > 0 ? k_bytes : 0;
  Class c;
  c.page_bytes = page_bytes;
  c.entry_bytes = entry_bytes;
  c.v_offset = v_offset;
  while (bytes_of_arena(c) < source_->arena_bytes()) ++c.shift;
  c.mask = (uint32_t{1} << c.shift) - 1;
  classes_.push_back(std::move(c));
  return classes() - 1;
}

bool PagePool::map_arena(Class& c) {
  uint32_t slot = 0;
  while (slot < c.arenas.size() && c.arenas[slot].memory) ++slot;
  const uint64_t first_page = uint64_t{slot} << c.shift;
  if (first_page + c.mask >= kMaxPagesPerClass) return false;
  // Everything that may throw comes before the mapping, so a failure leaks nothing.
  if (slot == c.arenas.size()) c.arenas.emplace_back();
  std::unique_ptr<PageHeader[]> headers(new (std::nothrow) PageHeader[size_t{c.mask} + 1]);
  void* memory = headers ? source_->map(bytes_of_arena(c)) : nullptr;
  if (!memory) return false;
  Arena& arena = c.arenas[slot];
  arena = Arena{static_cast<uint8_t*>(memory), std::move(headers), 0, 0, kNone};
  c.free += c.mask + uint64_t{1};
  ++c.empty_arenas;
  c.lowest_free = std::min(c.lowest_free, slot);
  arena_bytes_ += bytes_of_arena(c);
  return true;
}

void PagePool::unmap_arena(Class& c, uint32_t arena) {
  Arena& a = c.arenas[arena];
  source_->unmap(a.memory, bytes_of_arena(c));
  c.free -= c.mask + uint64_t{1} - a.used;
  if (a.used == 0) --c.empty_arenas;
  arena_bytes_ -= bytes_of_arena(c);
  a = Arena{};
}

bool PagePool::reserve(int size_class, uint64_t n) {
  Class& c = classes_[size_class];
  while (c.free < n) {
    bool mapped = false;
    try {
      mapped = map_arena(c);
    } catch (const std::bad_alloc&) {
    }
    if (!mapped) {
      trim(size_class);
      return false;
    }
  }
  return true;
}

PageId PagePool::take_raw(int size_class, bool* zero) {
  Class& c = classes_[size_class];
  while (!c.arenas[c.lowest_free].memory || c.arenas[c.lowest_free].used == c.mask + uint32_t{1}) {
    ++c.lowest_free;
  }
  Arena& a = c.arenas[c.lowest_free];
  uint32_t slot = a.first_free;
  *zero = slot == kNone;
  if (slot == kNone) {
    slot = a.touched++;
  } else {
    a.first_free = a.headers[slot].word;
  }
  a.headers[slot] = PageHeader{1, 0};
  if (a.used++ == 0) --c.empty_arenas;
  ++c.used;
  --c.free;
  return (static_cast<PageId>(size_class) << kIndexBits) | (c.lowest_free << c.shift) | slot;
}

PageId PagePool::take(int size_class) {
  bool zero = false;
  const PageId page = take_raw(size_class, &zero);
  // Slots behind the last row are multiplied by probability 0, and 0 x NaN is NaN.
  if (!zero) std::memset(k_data(page), 0, classes_[size_class].page_bytes);
  return page;
}

PageId PagePool::take_copy(PageId page) {
  bool zero = false;
  const PageId copy = take_raw(page_class(page), &zero);
  std::memcpy(k_data(copy), k_data(page), classes_[page_class(page)].page_bytes);
  return copy;
}

void PagePool::release(PageId page) {
  PageHeader& h = header(page);
  if (--h.refs > 0) return;
  Class& c = classes_[page_class(page)];
  const uint32_t arena = page_index(page) >> c.shift;
  Arena& a = c.arenas[arena];
  c.slots -= h.word;
  h.word = a.first_free;
  a.first_free = page_index(page) & c.mask;
  --c.used;
  ++c.free;
  c.lowest_free = std::min(c.lowest_free, arena);
  if (--a.used > 0) return;
  ++c.empty_arenas;
  if (c.used == 0 || c.empty_arenas > 1) trim(page_class(page));
}

void PagePool::trim(int size_class) {
  Class& c = classes_[size_class];
  const uint32_t keep = c.used == 0 ? 0 : 1;
  for (uint32_t a = static_cast<uint32_t>(c.arenas.size()); a-- > 0 && c.empty_arenas > keep;) {
    if (c.arenas[a].memory && c.arenas[a].used == 0) unmap_arena(c, a);
  }
  while (!c.arenas.empty() && !c.arenas.back().memory) c.arenas.pop_back();
  c.lowest_free = std::min(c.lowest_free, static_cast<uint32_t>(c.arenas.size()));
}

void PagePool::set_fill(PageId page, uint32_t slots) {
  PageHeader& h = header(page);
  Class& c = classes_[page_class(page)];
  c.slots += slots;
  c.slots -= h.word;
  h.word = slots;
}

Status PagePool::check_arena(const Class& c, const Arena& a) const {
  uint32_t used = 0;
  for (uint32_t p = 0; p < a.touched; ++p) {
    used += a.headers[p].refs > 0;
    if (a.headers[p].refs > 0 && a.headers[p].word > kPageTokens) {
      return error(Code::kInternal, "a page claims ", a.headers[p].word, " committed slots");
    }
  }
  uint32_t listed = 0;
  for (uint32_t p = a.first_free; p != kNone; p = a.headers[p].word, ++listed) {
    if (p >= a.touched || a.headers[p].refs > 0 || listed > a.touched) {
      return error(Code::kInternal, "the free list of an arena reaches page ", p);
    }
  }
  if (used != a.used || used + listed != a.touched || a.touched > c.mask + uint32_t{1}) {
    return error(Code::kInternal, "arena counts: ", used, " used of ", a.used, ", ", listed,
                 " free, ", a.touched, " touched");
  }
  return {};
}

Status PagePool::check() const {
  uint64_t bytes = 0;
  for (const Class& c : classes_) {
    uint64_t used = 0, free = 0, slots = 0;
    uint32_t empty = 0;
    for (uint32_t i = 0; i < c.arenas.size(); ++i) {
      const Arena& a = c.arenas[i];
      if (!a.memory) continue;
      HEED_TRY(check_arena(c, a));
      used += a.used;
      free += c.mask + uint64_t{1} - a.used;
      empty += a.used == 0;
      bytes += bytes_of_arena(c);
      for (uint32_t p = 0; p < a.touched; ++p) slots += a.headers[p].refs ? a.headers[p].word : 0;
      if (a.used <= c.mask && i < c.lowest_free) {
        return error(Code::kInternal, "arena ", i, " has room below the hint ", c.lowest_free);
      }
    }
    if (used != c.used || free != c.free || slots != c.slots || empty != c.empty_arenas) {
      return error(Code::kInternal, "class counts: used ", used, "/", c.used, ", free ", free, "/",
                   c.free, ", slots ", slots, "/", c.slots, ", empty arenas ", empty, "/",
                   c.empty_arenas);
    }
    if (empty > (used == 0 ? 0u : 1u)) {
      return error(Code::kInternal, empty, " empty arenas are kept while ", used,
                   " pages are used");
    }
  }
  if (bytes != arena_bytes_) {
    return error(Code::kInternal, "arena bytes: ", bytes, " counted, ", arena_bytes_, " kept");
  }
  return {};
}

}  // namespace heed::kv
