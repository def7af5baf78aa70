// The page pool: pages of several size classes, cut from arenas, reference counted.
//
// A handle is (size class, index): index >> shift is the arena, the rest the page in it, so looking
// a page up is two loads and a shift. An arena whose last page is released goes back to the system;
// one empty arena per class is kept while the class is in use, so that a sequence that grows and
// rolls back across an arena border does not map and unmap 2 MiB each time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "heed/kv.h"
#include "heed/status.h"
#include "kv/arena_source.h"

namespace heed::kv {

inline constexpr int kClassBits = 6;
inline constexpr int kMaxClasses = 1 << kClassBits;
inline constexpr int kIndexBits = 32 - kClassBits;
// One less than the bits allow: the last handle of the last class would be kNoPage.
inline constexpr uint32_t kMaxPagesPerClass = (uint32_t{1} << kIndexBits) - 1;

inline int page_class(PageId page) { return static_cast<int>(page >> kIndexBits); }
inline uint32_t page_index(PageId page) { return page & ((uint32_t{1} << kIndexBits) - 1); }

// Kept outside the page bytes, so that releasing a page does not touch its memory.
struct PageHeader {
  uint32_t refs = 0;  // lists (and open transactions) that hold the page; 0 = free
  uint32_t word = 0;  // in use: committed slots, the same for every holder; free: next free page
};

class PagePool {
 public:
  explicit PagePool(std::unique_ptr<ArenaSource> source) : source_(std::move(source)) {}
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Adds a size class; K lies at the start of a page, V `k_bytes` behind (V empty: it aliases K).
  // `entry_bytes` is what one slot stores, without the page's padding. The caller keeps the number
  // of classes at or below kMaxClasses.
  int add_class(size_t k_bytes, size_t v_bytes, size_t entry_bytes);
  int classes() const { return static_cast<int>(classes_.size()); }
  size_t page_bytes(int size_class) const { return classes_[size_class].page_bytes; }
  size_t entry_bytes(int size_class) const { return classes_[size_class].entry_bytes; }

  // Makes sure that the next n calls of take(size_class) succeed; false, with nothing taken, when
  // the system gives no memory or the class has no more handles.
  bool reserve(int size_class, uint64_t n);
  // A zeroed page with one reference and no committed slots. Only within a reservation.
  PageId take(int size_class);
  // A page with the bytes of `page`. Only within a reservation.
  PageId take_copy(PageId page);
  void add_ref(PageId page) { ++header(page).refs; }
  void release(PageId page);
  // Returns empty arenas that only a reservation asked for.
  void trim(int size_class);

  // For any number; everything else takes handles of pages in use.
  bool in_use(PageId page) const {
    if (page_class(page) >= classes()) return false;
    const Class& c = classes_[page_class(page)];
    const uint32_t i = page_index(page);
    if ((i >> c.shift) >= c.arenas.size()) return false;
    const Arena& a = c.arenas[i >> c.shift];
    return a.memory != nullptr && (i & c.mask) < a.touched && a.headers[i & c.mask].refs > 0;
  }
  uint32_t refs(PageId page) const { return header(page).refs; }
  uint32_t fill(PageId page) const { return header(page).word; }
  void set_fill(PageId page, uint32_t slots);

  uint8_t* k_data(PageId page) const {
    const Class& c = classes_[page_class(page)];
    const uint32_t i = page_index(page);
    return c.arenas[i >> c.shift].memory + (i & c.mask) * c.page_bytes;
  }
  uint8_t* v_data(PageId page) const { return k_data(page) + classes_[page_class(page)].v_offset; }

  uint64_t pages_in_use(int size_class) const { return classes_[size_class].used; }
  uint64_t committed_slots(int size_class) const { return classes_[size_class].slots; }
  uint64_t arena_bytes() const { return arena_bytes_; }

  // Free lists, counts and sums of every class; `refs` of pages are checked by the store.
  Status check() const;

 private:
  struct Arena {
    uint8_t* memory = nullptr;  // null: a hole in the table, its index may be reused
    std::unique_ptr<PageHeader[]> headers;
    uint32_t used = 0;
    uint32_t touched = 0;     // pages [touched, end) were never taken, so they are still zero
    uint32_t first_free = 0;  // kNone or a page below `touched`
  };
  struct Class {
    size_t page_bytes = 0;  // multiple of 64
    size_t entry_bytes = 0;
    size_t v_offset = 0;
    int shift = 0;  // pages per arena = 1 << shift
    uint32_t mask = 0;
    std::vector<Arena> arenas;
    // No arena below has a free page. Taking from the lowest first lets the high ones empty.
    uint32_t lowest_free = 0;
    uint64_t used = 0, free = 0, slots = 0;
    uint32_t empty_arenas = 0;
  };
  static constexpr uint32_t kNone = ~uint32_t{0};

  PageHeader& header(PageId page) const {
    const Class& c = classes_[page_class(page)];
    const uint32_t i = page_index(page);
    return c.arenas[i >> c.shift].headers[i & c.mask];
  }
  bool map_arena(Class& c);
  void unmap_arena(Class& c, uint32_t arena);
  PageId take_raw(int size_class, bool* zero);
  Status check_arena(const Class& c, const Arena& a) const;
  size_t bytes_of_arena(const Class& c) const { return c.page_bytes << c.shift; }

  std::unique_ptr<ArenaSource> source_;
  std::vector<Class> classes_;
  uint64_t arena_bytes_ = 0;
};

}  // namespace heed::kv
