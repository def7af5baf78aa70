#include "select/compile.h"

#include <algorithm>
#include <limits>

#include "attention/visible.h"
#include "base/checked.h"
#include "base/text.h"
#include "select/bit_rows.h"

namespace heed::select {
namespace {

static_assert(kPageTokens == kWordBits, "a word of a key set's bits is the mask of a page");

// Pages that `slots` slots in a row touch, wherever they begin.
constexpr int64_t pages_touched(int64_t slots) {
  return slots < 1 ? 0 : (slots + kPageTokens - 2) / kPageTokens + 1;
}

class UnitCompiler {
 public:
  UnitCompiler(const KeySet& keys, const Call& call, const Unit& unit, const PlanRoom& room,
               Plan& plan)
      : keys_(keys),
        call_(call),
        unit_(unit),
        room_(room),
        plan_(plan),
        seq_(call.seqs[static_cast<size_t>(plan.items[static_cast<size_t>(unit.item)].seq)]),
        list_(seq_.lists[plan.items[static_cast<size_t>(unit.item)].kv_head]),
        pages_(static_cast<int32_t>(pages_for(list_.len))),
        words_(plan.tile_masks.data() + unit.masks) {}

  bool run() {
    if (pages_ > room_.pages || (keys_.band > 0 && call_.mask == MaskKind::kNone)) return false;
    std::fill_n(words_, pages_, uint64_t{0});
    if (!rasterise_ranges()) return false;
    rasterise_band();
    if (!place_columns()) return false;
    // Nobody sees what lies behind the list: a last page without holes needs no mask.
    const int32_t rest = list_.len % kPageTokens;
    if (rest > 0 && words_[pages_ - 1] == word_range(0, rest)) words_[pages_ - 1] = ~uint64_t{0};
    for (int32_t i = 0; i < unit_.items; ++i) {
      if (!emit(i)) return false;
    }
    return true;
  }

 private:
  bool rasterise_ranges() {
    for (const KeyRange& range : keys_.ranges) {
      if (range.begin < 0 || range.len < 0) return false;
      const int64_t end = std::min<int64_t>(int64_t{range.begin} + range.len, list_.len);
      set_bits(words_, range.begin, end);
    }
    return true;
  }

  // Slots that every row of the block has in its band are bits of the set; the edge, where rows
  // differ, are pages of their own kind.
  void rasterise_band() {
    if (keys_.band <= 0) return;
    const int32_t edge = slots_up_to(list_, unit_.block.first - keys_.band);
    const int32_t all = slots_up_to(list_, unit_.block.end - 1 - keys_.band);
    set_bits(words_, all, list_.len);
    if (edge == all) return;
    edge_first_ = edge / kPageTokens;
    edge_end_ = static_cast<int32_t>(pages_for(all));
  }

  // Into the bits of pages that are read anyhow, and of those that the block itself lies in, whose
  // ranges may end with the chunk; else into the gather list.
  bool place_columns() {
    const int32_t diagonal = slots_up_to(list_, unit_.block.first - 1) / kPageTokens;
    const int32_t first =
        call_.mask == MaskKind::kWindow ? slots_up_to(list_, unit_.block.first - call_.window) : 0;
    int32_t last = -1;
    for (const int32_t slot : keys_.columns) {
      if (slot <= last) return false;
      last = slot;
      if (slot < first || slot >= list_.len) continue;
      const int32_t page = slot / kPageTokens;
      if (words_[page] != 0 || page >= diagonal || is_edge(page)) {
        words_[page] |= uint64_t{1} << (slot % kPageTokens);
      } else {
        if (gathered_ >= room_.gather) return false;
        plan_.gather[static_cast<size_t>(unit_.gather + gathered_++)] = slot;
      }
    }
    return true;
  }

  bool is_edge(int32_t page) const { return page >= edge_first_ && page < edge_end_; }

  // How an item reads a page.
  enum class Reads { kNothing, kAll, kSame, kByRow };
  Reads reads(int32_t page, const Visible& seen) const {
    if (is_edge(page)) return Reads::kByRow;
    const int64_t slot0 = int64_t{page} * kPageTokens;
    const uint64_t visible = word_range(seen.first - slot0, seen.end - slot0);
    const uint64_t word = words_[page] & visible;
    if (word == 0) return Reads::kNothing;
    return word == visible ? Reads::kAll : Reads::kSame;
  }

  bool emit(int32_t number) {
    Item& item = plan_.items[static_cast<size_t>(unit_.item + number)];
    item.ranges = 0;
    Visible seen{list_.len, 0};  // by any row
    for (int32_t t = 0; t < item.rows; ++t) {
      const Visible v = visible_slots(call_, list_, query_position(seq_, item.row + t));
      if (v.first >= v.end) continue;
      seen.first = std::min(seen.first, v.first);
      seen.end = std::max(seen.end, v.end);
    }
    if (seen.first >= seen.end) return true;
    const auto end = static_cast<int32_t>(pages_for(seen.end));
    for (int32_t page = seen.first / kPageTokens; page < end;) {
      const Reads kind = reads(page, seen);
      const int32_t begin = page++;
      while (page < end && reads(page, seen) == kind) ++page;
      if (kind == Reads::kNothing) continue;
      Range range{.begin = begin, .len = page - begin};
      if (kind == Reads::kSame) {
        range.tile_mask = unit_.masks + begin;
        range.one_mask = true;
      } else if (kind == Reads::kByRow && !mask_edge(item, number, range)) {
        return false;
      }
      if (!push(item, range)) return false;
    }
    const int32_t* slots = plan_.gather.data() + unit_.gather;
    const auto n =
        static_cast<int32_t>(std::lower_bound(slots, slots + gathered_, seen.end) - slots);
    return n == 0 || push(item, {.begin = unit_.gather, .len = n, .source = 1});
  }

  bool push(Item& item, const Range& range) {
    if (item.ranges >= room_.ranges) return false;
    plan_.ranges[static_cast<size_t>(item.range + item.ranges++)] = range;
    return true;
  }

  // The pages of an edge come once an item, so they have its room for themselves.
  bool mask_edge(const Item& item, int32_t number, Range& range) {
    if (int64_t{item.rows} * range.len > room_.edges) return false;
    range.tile_mask = unit_.masks + room_.pages + number * room_.edges;
    uint64_t* mask = plan_.tile_masks.data() + range.tile_mask;
    for (int32_t t = 0; t < item.rows; ++t) {
      const int32_t first = slots_up_to(list_, query_position(seq_, item.row + t) - keys_.band);
      for (int32_t page = range.begin; page < range.begin + range.len; ++page) {
        const int64_t slot0 = int64_t{page} * kPageTokens;
        *mask++ = words_[page] | word_range(first - slot0, kPageTokens);
      }
    }
    return true;
  }

  const KeySet& keys_;
  const Call& call_;
  const Unit& unit_;
  const PlanRoom& room_;
  Plan& plan_;
  const SeqRows& seq_;
  const ListView& list_;
  int32_t pages_;
  uint64_t* words_;  // [pages] of the key set
  int32_t edge_first_ = 0, edge_end_ = 0;
  int32_t gathered_ = 0;
};

}  // namespace

PlanRoom plan_room(const SetBound& bound, int block, int rows, int64_t slots) {
  const int64_t pages = pages_for(slots);
  const int64_t diagonal = pages_touched(block), edge = bound.bands ? pages_touched(block) : 0;
  PlanRoom room;
  // A range of slots: a part of a page, whole pages, a part. Holes between them, and each page of
  // the diagonal that columns fall into, cost no more. A band may cut one of them in two, twice.
  const int64_t ranges = 3 * int64_t{bound.ranges} + 2 * diagonal + (bound.bands ? 5 : 0);
  room.ranges = static_cast<int32_t>(std::min(ranges, pages) + (bound.columns > 0 ? 1 : 0));
  room.gather = bound.columns;
  room.pages = static_cast<int32_t>(pages);
  room.edges = static_cast<int32_t>(edge * rows);
  return room;
}

Result<uint64_t> room_bytes(const PlanRoom& room, int64_t items, int64_t units) {
  const int64_t ranges = room.ranges * items, gather = room.gather * units;
  const int64_t masks = room.pages * units + room.edges * items;
  const int64_t most = std::max({ranges, gather, masks, items});
  if (most > std::numeric_limits<int32_t>::max()) {
    return error(Code::kOutOfRange, "a plan of ", most, " entries, can hold ",
                 std::numeric_limits<int32_t>::max(), "; use a smaller chunk");
  }
  return static_cast<uint64_t>(items) * sizeof(Item) +
         static_cast<uint64_t>(ranges) * sizeof(Range) +
         static_cast<uint64_t>(gather) * sizeof(int32_t) +
         static_cast<uint64_t>(masks) * sizeof(uint64_t);
}

bool compile(const KeySet& keys, const Call& call, const Unit& unit, const PlanRoom& room,
             Plan& plan) {
  return UnitCompiler(keys, call, unit, room, plan).run();
}

}  // namespace heed::select
