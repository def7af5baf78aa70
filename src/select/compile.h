// From key sets to a plan: full pages without masks, partial pages with one mask row for the whole
// item, the edge of a band with a mask row for each query row, single columns as gather lists.
//
// A unit is a query block of one head (or of the heads of a group). Its items and the room they
// write to are laid out before the graph; units are then compiled in parallel. What a row reads and
// in which order depends on its block's key set alone, not on the chunk that its block is cut by:
// its bits do not either.
#pragma once

#include <cstdint>

#include "heed/attention.h"
#include "heed/status.h"
#include "select/blocks.h"
#include "select/key_set.h"

namespace heed::select {

// Entries of a plan that each item or unit owns.
struct PlanRoom {
  int32_t ranges = 0;  // Plan::ranges of an item
  int32_t gather = 0;  // Plan::gather of a unit
  int32_t pages = 0;   // Plan::tile_masks of a unit: its key set as bits
  int32_t edges = 0;   // Plan::tile_masks of an item: its rows at the edge of a band
};

// For sets inside `bound`, blocks of `block` rows, items of up to `rows` rows, and lists of up to
// `slots` slots.
PlanRoom plan_room(const SetBound& bound, int block, int rows, int64_t slots);
// Bytes of the room of so many items and units. Errors: more than a plan's indices reach.
Result<uint64_t> room_bytes(const PlanRoom& room, int64_t items, int64_t units);

struct Unit {
  QueryBlock block;
  int32_t set = 0;        // which of a table's
  int32_t set_block = 0;  // and its block there
  int32_t item = 0;       // Plan::items [item, item + items), consecutive rows of the block
  int32_t items = 0;
  int32_t gather = 0;  // first of its entries
  int32_t masks = 0;   // first of its tile masks: pages, then the edges of its items
};

// Fills the ranges of the unit's items. False when something does not fit its room, or the set is
// not one (a range that begins below 0, columns that do not ascend, a band without a causal mask);
// the plan is then not to be run.
bool compile(const KeySet& keys, const Call& call, const Unit& unit, const PlanRoom& room,
             Plan& plan);

// What a plan computes, of one head.
struct PlanCounts {
  uint64_t tiles = 0;  // (query row, page), as RunCounters counts them
  uint64_t pairs = 0;  // (query row, key)

  void add(const PlanCounts& other) {
    tiles += other.tiles;
    pairs += other.pairs;
  }
};

// Of every head of `item`.
PlanCounts count_item(const Plan& plan, const Call& call, const Item& item);
// Of a head that reads all that it sees: rows [row, row + rows) of a sequence and a KV head.
PlanCounts count_visible(const Call& call, const SeqRows& seq, int kv_head, int32_t row,
                         int32_t rows);

}  // namespace heed::select
