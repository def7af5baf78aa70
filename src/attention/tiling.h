// Sizes of query tiles.
#pragma once

namespace heed {

// Tokens of a query block for `group` query heads per KV head: 96 stacked rows, fewer when the
// heads are so large that the tile's scratch would leave L2, and at least one token.
int tile_tokens(int group, int dk, int dv);

}  // namespace heed
