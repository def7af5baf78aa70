// tri_shape, from the formula: the query at position `query` of a prompt that ends before position
// `prompt_end` reads the key at position `key`.
#pragma once

#include <cstdint>

#include "mechanisms/tri_shape/tri_shape.h"

namespace heed::reference {

inline bool tri_shape_visible(const TriShapeParams& p, int64_t prompt_end, int64_t query,
                              int64_t key) {
  return key <= query &&
         (key < p.n_init || query - key < p.n_local || query >= prompt_end - p.n_last);
}

}  // namespace heed::reference
