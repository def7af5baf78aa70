#include "select/layout.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "attention/tiling.h"
#include "attention/visible.h"
#include "base/guard.h"

namespace heed::select {
namespace {

// Query rows of an item: blocks are cut into equal parts, so that none is a sliver.
int item_rows(int block, int heads, int dk, int dv) {
  const int most = tile_tokens(heads, dk, dv);
  const int parts = (block + most - 1) / most;
  return (block + parts - 1) / parts;
}

int heads_of_item(const HeadMap& heads, int kv_head, bool group_shared) {
  return group_shared ? std::min(group_size(heads, kv_head), kItemHeads) : 1;
}

// Of a KV head's group, those that come before query head `head`.
int place_in_group(const HeadMap& heads, int head) {
  int place = 0;
  for (int h = 0; h < head; ++h) place += heads.kv_of(h) == heads.kv_of(head);
  return place;
}

int most_item_rows(const HeadMap& heads, int dk, int dv, const Cut& cut) {
  int rows = 1;
  for (int g = 0; g < heads.n_kv; ++g) {
    rows = std::max(rows, item_rows(cut.block, heads_of_item(heads, g, cut.group_shared), dk, dv));
  }
  return rows;
}

}  // namespace

// Items of the unit without their ranges: parts of its rows times parts of its heads.
void PlanLayout::add_unit(const Call& call, int set, int kv_head, int block, const Cut& cut) {
  const QueryBlock& rows = blocks_[static_cast<size_t>(block)];
  const int at_once = heads_of_item(call.heads, kv_head, cut.group_shared);
  const int step = item_rows(cut.block, at_once, call.dk, call.dv);
  const int place = cut.group_shared ? 0 : place_in_group(call.heads, set);
  const int heads = cut.group_shared ? group_size(call.heads, kv_head) : 1;
  if (heads == 0) return;  // a head map may leave a KV head without readers
  Unit unit;
  unit.block = rows;
  unit.set = set;
  unit.set_block = block;
  unit.item = static_cast<int32_t>(plan_.items.size());
  for (int32_t row = rows.row; row < rows.row + rows.rows; row += step) {
    for (int h = 0; h < heads; h += at_once) {
      Item item;
      item.kv_head = kv_head;
      item.row = row;
      item.rows = std::min(step, rows.row + rows.rows - row);
      item.first_head = (place + h) / kItemHeads * kItemHeads;
      const int n = std::min(at_once, heads - h);
      item.head_mask = (~uint64_t{0} >> (kItemHeads - n)) << (place + h - item.first_head);
      plan_.items.push_back(item);
    }
  }
  unit.items = static_cast<int32_t>(plan_.items.size()) - unit.item;
  units_.push_back(unit);
}

Status PlanLayout::lay_out(const Call& call, const Cut& cut, int64_t slots) {
  if (call.seqs.size() != 1 || call.seqs[0].pos != nullptr) {
    return error(Code::kInvalidArgument, "a selection over ", call.seqs.size(),
                 " sequences; it takes one, of consecutive positions");
  }
  const SeqRows& seq = call.seqs[0];
  sets_ = sets_of(call.heads, cut.group_shared);
  room_ = plan_room(cut.bound, cut.block, most_item_rows(call.heads, call.dk, call.dv, cut), slots);
  try {
    blocks_.clear();
    units_.clear();
    plan_.items.clear();
    for_each_block(seq.pos0, seq.rows, cut.block, cut.position,
                   [&](const QueryBlock& block) { blocks_.push_back(block); });
    // The last blocks see most keys: they go first, so that the threads finish together.
    for (auto block = static_cast<int>(blocks_.size()) - 1; block >= 0; --block) {
      for (int set = 0; set < sets_; ++set) {
        const int kv_head = cut.group_shared ? set : call.heads.kv_of(set);
        add_unit(call, set, kv_head, block, cut);
      }
    }
    const size_t items = plan_.items.size(), units = units_.size();
    HEED_TRY(room_bytes(room_, static_cast<int64_t>(items), static_cast<int64_t>(units)));
    plan_.ranges.resize(items * static_cast<size_t>(room_.ranges));
    plan_.gather.resize(units * static_cast<size_t>(room_.gather));
    plan_.tile_masks.resize(units * static_cast<size_t>(room_.pages) +
                            items * static_cast<size_t>(room_.edges));
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for the plan of a selection; use a smaller chunk");
  } catch (const std::length_error&) {
    return exhausted("no memory for the plan of a selection; use a smaller chunk");
  }
  for (size_t i = 0; i < plan_.items.size(); ++i) {
    plan_.items[i].range = static_cast<int32_t>(i) * room_.ranges;
  }
  int32_t masks = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    units_[u].gather = static_cast<int32_t>(u) * room_.gather;
    units_[u].masks = masks;
    masks += room_.pages + units_[u].items * room_.edges;
  }
  return {};
}

Result<uint64_t> PlanLayout::bytes_of(const HeadMap& heads, int dk, int dv, int32_t rows,
                                      int64_t slots, const Cut& cut) {
  const int64_t blocks = most_blocks(rows, cut.block);
  int64_t items = 0, units = 0;
  for (int set = 0; set < sets_of(heads, cut.group_shared); ++set) {
    const int kv_head = cut.group_shared ? set : heads.kv_of(set);
    const int at_once = heads_of_item(heads, kv_head, cut.group_shared);
    const int all = cut.group_shared ? group_size(heads, kv_head) : 1;
    const int step = item_rows(cut.block, at_once, dk, dv);
    const int64_t parts = (cut.block + step - 1) / step;
    items += blocks * parts * ((all + at_once - 1) / std::max(1, at_once));
    units += blocks;
  }
  const PlanRoom room = plan_room(cut.bound, cut.block, most_item_rows(heads, dk, dv, cut), slots);
  HEED_ASSIGN(const uint64_t bytes, room_bytes(room, items, units));
  return bytes + static_cast<uint64_t>(units) * sizeof(Unit) +
         static_cast<uint64_t>(blocks) * sizeof(QueryBlock);
}

}  // namespace heed::select
