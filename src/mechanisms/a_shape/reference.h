// a_shape, from the formula: the query at position `query` reads the key at position `key`.
#pragma once

#include <cstdint>

#include "mechanisms/a_shape/a_shape.h"

namespace heed::reference {

inline bool a_shape_visible(const AShapeParams& p, int64_t query, int64_t key) {
  return key <= query && (key < p.n_init || query - key < p.n_local);
}

}  // namespace heed::reference
