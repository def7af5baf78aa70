// Sizes of query tiles.
#pragma once

namespace heed {

// Query heads that one item can name (Item::head_mask).
inline constexpr int kItemHeads = 64;

// Tokens of a query block for `group` query heads per KV head: 96 stacked rows, fewer when the
// heads are so large that the tile's scratch would leave L2, and at least one token.
int tile_tokens(int group, int dk, int dv);

}  // namespace heed
