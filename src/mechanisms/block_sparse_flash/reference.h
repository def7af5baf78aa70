// block_sparse_flash, from the formula: the query at position `query` of query head `head` reads
// the key at position `key`.
#pragma once

#include <cstdint>

#include "mechanisms/block_sparse_flash/block_mask.h"

namespace heed::reference {

inline bool block_sparse_flash_visible(const BlockMask& mask, int head, int64_t query,
                                       int64_t key) {
  return key <= query && mask.at(head, query / mask.query_tokens(), key / mask.key_tokens());
}

}  // namespace heed::reference
