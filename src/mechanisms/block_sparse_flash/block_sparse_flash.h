// block_sparse_flash: a mask of blocks that the user gives.
//
// Formula: visible(t, j) iff j <= p(t) and M[p(t) / Q][j / K], for M given for all heads or for
// each query head; the softmax is over what is visible, rows that see nothing give 0. Paper:
// FlashAttention (2022), its block-sparse part. Cost: the share of blocks that M names, nothing to
// select. Blocks are those of absolute positions, so chunks change nothing.
#pragma once

#include <memory>
#include <string>

#include "heed/status.h"
#include "mechanisms/block_sparse_flash/block_mask.h"
#include "mechanisms/prefill.h"

namespace heed {

std::unique_ptr<const PrefillSelector> make_block_sparse_flash(BlockMask mask);

// From a file in the format of block_mask.h. Errors: the system's, kInvalidArgument with the line.
Result<std::unique_ptr<const PrefillSelector>> make_block_sparse_flash(const std::string& path);

}  // namespace heed
